# Completion of cfcat for fish. Nothing is run but the shell: host and port come from known_hosts and from earlier
# commands.

# The words that are neither options nor their values: target and port, as far as they stand before the cursor.
function __fish_cfcat_words
    # made by python -m tests.documents: options with a value
    set -l valued --connect-timeout --proxy --proxy-cacert --source --resolve --proxy-protocol --wait \
        -w --idle-timeout --shutdown -q --quit-after --client-ca --ca-out --tap --accept-tls --replay \
        --ignore --connection --tls --starttls --helo --sni --cacert --cert --key --alpn --tls-min \
        --tls-max --ciphers --script --var --after --until --eol --proto --log --pcap --export --from \
        --events --color
    # end of options with a value
    set -l skip
    for word in (commandline -opc)[2..-1]
        if set -q skip[1]
            set -e skip
        else if contains -- $word $valued
            set skip 1
        else if not string match -q -- '-*' $word
            echo $word
        end
    end
end

function __fish_cfcat_needs_target
    test (count (__fish_cfcat_words)) = 0
end

function __fish_cfcat_needs_port
    set -l words (__fish_cfcat_words)
    test (count $words) = 1; and not string match -q -- '*:*' $words
end

function __fish_cfcat_ports
    # made by python -m tests.documents: ports
    set -l ports 21 23 24 25 70 80 110 119 143 389 443 465 563 587 636 853 990 992 993 995 1433 1883 \
        3269 3306 3389 4190 4222 5222 5223 5269 5270 5432 5671 5672 5900 6379 6380 6667 6697 8080 8443 \
        8883 10809 11211
    # end of ports
    printf '%s\n' "$argv[1]"$ports
end

function __fish_cfcat_targets
    # host:port of earlier commands
    history search --contains cfcat | string match -ar -- '[\[\w][\w.:\]-]*:\d+'
    set -l word (commandline -ct)
    if string match -q -- '*:*' $word
        __fish_cfcat_ports (string replace -r '[^:]*$' '' -- $word)
    else
        printf '%s:\n' (__fish_print_hostnames)
    end
end

complete -c cfcat -f
complete -c cfcat -n __fish_cfcat_needs_target -a '(__fish_cfcat_targets)'
complete -c cfcat -n __fish_cfcat_needs_port -a '(__fish_cfcat_ports)' -d port

# made by python -m tests.documents: options
complete -c cfcat -l half-open -d 'Keep sending after the peer\'s EOF; with -l that is the default, but on a terminal'
complete -c cfcat -l no-half-open -d 'The opposite of --half-open'
complete -c cfcat -s 4 -d 'Use IPv4 addresses only'
complete -c cfcat -s 6 -d 'Use IPv6 addresses only'
complete -c cfcat -l workers -d 'Connect only where a Worker on Cloudflare could; else status 7'
complete -c cfcat -l check-workers -d 'Say whether a Worker could, and do not connect; --json for programs'
complete -c cfcat -l connect-timeout -x -d 'Deadline for resolving, connecting, STARTTLS and TLS handshake together'
complete -c cfcat -l proxy -x -d 'Go through a proxy: socks5h://HOST:PORT, or socks5, socks4a, socks4, http, https; env: as the environment says'
complete -c cfcat -l proxy-cacert -r -F -d 'Trust the authorities in FILE for an https proxy'
complete -c cfcat -l source -x -d 'Connect from this address of ours, or from this port'
complete -c cfcat -l resolve -x -d 'Take this for the address of HOST, or several with commas between'
complete -c cfcat -l proxy-protocol -x -d 'Begin with HAProxy\'s header, 1 or 2, as if coming from SRC; -l: read it'
complete -c cfcat -s z -l check -d 'Connect, see that it lasts a moment, end: is the server there?'
complete -c cfcat -l wait -x -d 'For so long connect again where it fails, or the server ends at once'
complete -c cfcat -s w -l idle-timeout -x -d 'End with status 28 when nothing moves for so long'
complete -c cfcat -l shutdown -x -a 'auto now never' -d 'At the end of standard input send ours when that cannot cost the answer, at once, or not at all'
complete -c cfcat -l no-shutdown -d 'Short for --shutdown never'
complete -c cfcat -s q -l quit-after -x -d 'After the end of standard input wait at most so long, then exit 0'

complete -c cfcat -s l -l listen -d 'Accept a client: PORT on loopback, ADDRESS:PORT, *:PORT, or unix:PATH'
complete -c cfcat -l keep -d 'With -l: then the next client, until a signal'
complete -c cfcat -l client-ca -r -F -d 'With -l: clients need a certificate of these authorities'
complete -c cfcat -l ca-out -r -F -d 'With -l: write the authority of the certificate made for this run'

complete -c cfcat -l tap -x -d 'Stand between the clients that come here and TARGET, and show what is said, under TLS too'
complete -c cfcat -l accept-tls -x -a 'auto on off' -d 'With --tap: take TLS from the client when it begins with it, demand it, or let it pass untouched'
complete -c cfcat -l quiet -d 'With --tap: do not show what is said'
complete -c cfcat -l once -d 'With --tap: end with the first connection'

complete -c cfcat -l replay -r -F -d 'Play the client of a transcript to TARGET, or with -l the server, and compare what comes'
complete -c cfcat -l ignore -x -d 'With --replay: what may differ within a line, such as dates; repeatable'
complete -c cfcat -l connection -x -d 'With --replay: which connection of the transcript'

complete -c cfcat -l tls -x -a 'off on starttls' -d 'TLS from the first byte (on), or to be upgraded (starttls)'
complete -c cfcat -l starttls -x -a 'smtp lmtp pop3 imap ftp nntp sieve xmpp xmpp-server irc ldap postgres mysql telnet rdp mssql amqp nbd vnc nats http' -d 'Run the dialog of PROTO, upgrade to TLS, then begin'
complete -c cfcat -l helo -x -d 'With --starttls smtp or lmtp: who EHLO says we are'
complete -c cfcat -l sni -x -a '(__fish_print_hostnames)' -d 'Server name to send and to verify; with -l one that the certificate has'
complete -c cfcat -l cacert -r -F -d 'Trust the authorities in FILE, not the system\'s'
complete -c cfcat -l cert -r -F -d 'Our certificate, with its chain'
complete -c cfcat -l key -r -F -d 'Its key, where that is not in the same FILE'
complete -c cfcat -l alpn -x -d 'ALPN protocols to offer: h2,http/1.1'
complete -c cfcat -l tls-min -x -a '1.2 1.3' -d 'Lowest TLS version'
complete -c cfcat -l tls-max -x -a '1.2 1.3' -d 'Highest TLS version'
complete -c cfcat -l ciphers -x -d 'Cipher suites of TLS 1.2, by OpenSSL\'s names'
complete -c cfcat -l ignore-unexpected-eof -d 'Accept a TLS stream that ends without close_notify (else status 18)'
complete -c cfcat -s k -l insecure -d 'Do not verify the server\'s certificate; warns'

complete -c cfcat -l repl -d 'A session; where standard input is no terminal, its lines are a script'
complete -c cfcat -l script -r -F -d 'The lines of FILE as a script; standard input is not read'
complete -c cfcat -l var -x -d 'Session: VALUE stands for its NAME in lines, as :set expand on has it'
complete -c cfcat -l pipe -d 'Pipe mode, on a terminal too'
complete -c cfcat -s C -l crlf -d 'Pipe mode: send a bare LF as CRLF'
complete -c cfcat -l after -x -d 'Pipe mode: read standard input when what came matches: a greeting that is late'
complete -c cfcat -l until -x -d 'Pipe mode: end with 0 when what came matches, else with 1'
complete -c cfcat -l eol -x -a 'crlf lf cr none' -d 'Session: the line ending that Enter sends'
complete -c cfcat -l proto -x -a 'auto none smtp lmtp pop3 imap ftp nntp sieve xmpp irc ldap postgres mysql nats http redis gopher memcached' -d 'Session: whose verbs Tab completes, and which lines are secrets'
complete -c cfcat -l no-history -d 'Session: keep no history of its lines'

complete -c cfcat -s v -l verbose -d 'Say what happens: -v events and certificate, -vv bytes, -vvv hexdump'
complete -c cfcat -s x -l hexdump -d 'Show all bytes in hexadecimal on standard error'
complete -c cfcat -l log -r -F -d 'Keep a transcript in FILE, secrets masked'
complete -c cfcat -l log-secrets -d 'Do not mask secrets in transcript and events'
complete -c cfcat -l pcap -r -F -d 'Capture what goes over the wire in FILE, for Wireshark, with the keys of TLS'
complete -c cfcat -l export -r -F -d 'At the end write what was done as a Worker that does it again'
complete -c cfcat -l from -r -F -d 'With --export alone: from a transcript that --log kept'
complete -c cfcat -l events -r -F -d 'Tell programs what happens and what is said, one JSON object a line; - is stderr'
complete -c cfcat -l json -d 'Report on standard error, at the end, as one JSON object'
complete -c cfcat -l progress -d 'Show bytes and rate on a terminal'
complete -c cfcat -l color -x -a 'auto always never' -d 'Colour on a terminal, always or never'
complete -c cfcat -l raw -d 'On a terminal: pass control characters too'
complete -c cfcat -s V -l version -d 'Show the version and exit'
complete -c cfcat -s h -l help -d 'Show this message and exit'
# end of options

# Completion of cfcat for fish. Nothing is run but the shell: host and port come from known_hosts and from earlier
# commands.

# The words that are neither options nor their values: target and port, as far as they stand before the cursor.
function __fish_cfcat_words
    set -l valued --connect-timeout -w --idle-timeout --shutdown -q --quit-after --tls --starttls --sni --cacert --cert --key \
        --alpn --tls-min --tls-max --eol --proto --log --export --from --color
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
    printf '%s\n' "$argv[1]"(string split ' ' '21 23 24 25 70 80 110 119 143 389 443 465 563 587 636 853 990 993 995 1433 1883 3306 3389 4190 5222 5269 5432 5672 5900 6379 6380 6667 6697 8080 8443 8883 10809 11211')
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

complete -c cfcat -l half-open -d 'Keep sending after the server\'s end'
complete -c cfcat -l no-half-open -d 'End when the server ends'
complete -c cfcat -s 4 -d 'IPv4 addresses only'
complete -c cfcat -s 6 -d 'IPv6 addresses only'
complete -c cfcat -l workers -d 'Connect only where a Worker could'
complete -c cfcat -l check-workers -d 'Say whether a Worker could connect'
complete -c cfcat -l connect-timeout -x -d 'Deadline for connecting and TLS'
complete -c cfcat -s w -l idle-timeout -x -d 'End when nothing moves for so long'
complete -c cfcat -l shutdown -x -a 'auto now never' -d 'When the end of standard input is passed on'
complete -c cfcat -l no-shutdown -d 'Do not pass on the end of standard input'
complete -c cfcat -s q -l quit-after -x -d 'Wait so long after the end of standard input'

complete -c cfcat -l tls -x -a 'off on starttls' -d 'TLS from the first byte, or to be upgraded'
complete -c cfcat -l starttls -x -a 'smtp lmtp pop3 imap ftp nntp sieve xmpp xmpp-server irc ldap postgres mysql telnet rdp mssql amqp nbd vnc' -d 'Upgrade by the dialog of a protocol'
complete -c cfcat -l sni -x -a '(__fish_print_hostnames)' -d 'Name to send and to verify'
complete -c cfcat -l cacert -r -F -d 'Trust the authorities in a file'
complete -c cfcat -l cert -r -F -d 'Client certificate with its chain'
complete -c cfcat -l key -r -F -d 'Its key'
complete -c cfcat -l alpn -x -d 'ALPN protocols to offer'
complete -c cfcat -l tls-min -x -a '1.2 1.3' -d 'Lowest TLS version'
complete -c cfcat -l tls-max -x -a '1.2 1.3' -d 'Highest TLS version'
complete -c cfcat -l ignore-unexpected-eof -d 'Accept a TLS stream without close_notify'
complete -c cfcat -s k -l insecure -d 'Do not verify the certificate'

complete -c cfcat -l repl -d 'A session, or a script'
complete -c cfcat -l pipe -d 'Pipe mode, on a terminal too'
complete -c cfcat -s C -l crlf -d 'Pipe: send a bare LF as CRLF'
complete -c cfcat -l eol -x -a 'crlf lf cr none' -d 'Session: what Enter sends'
complete -c cfcat -l proto -x -a 'auto none smtp lmtp imap pop3 ftp nntp sieve irc redis http gopher memcached ldap postgres mysql xmpp' -d 'Session: whose verbs and secrets count'
complete -c cfcat -l no-history -d 'Session: keep no history'

complete -c cfcat -s v -l verbose -d 'Say what happens'
complete -c cfcat -s x -l hexdump -d 'Show all bytes in hexadecimal'
complete -c cfcat -l log -r -F -d 'Keep a transcript'
complete -c cfcat -l log-secrets -d 'Do not mask secrets in the transcript'
complete -c cfcat -l export -r -F -d 'Write what was done as a Worker'
complete -c cfcat -l from -r -F -d 'With --export alone: a transcript'
complete -c cfcat -l json -d 'Report as one JSON object'
complete -c cfcat -l progress -d 'Show bytes and rate'
complete -c cfcat -l color -x -a 'auto always never' -d 'Colour'
complete -c cfcat -l raw -d 'Pass control characters to the terminal'
complete -c cfcat -s V -l version -d 'Show the version'
complete -c cfcat -s h -l help -d 'Show a summary'

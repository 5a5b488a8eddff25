# Completion of cfcat for bash, with bash-completion. Nothing is run but the shell: host and port come from
# known_hosts and from earlier commands.                                                   -*- shell-script -*-

# host:port of earlier cfcat commands in this shell's history
__cfcat_earlier()
{
    local words word
    while read -ra words; do
        [[ ${words[*]} == *cfcat* ]] || continue
        for word in "${words[@]}"; do
            [[ $word =~ ^[^-].*[^:]:[0-9]+$ ]] && echo "$word"
        done
    done < <(HISTTIMEFORMAT='' builtin history)
}

__cfcat_ports()
{
    local port
    # made by python -m tests.documents: ports
    local ports='21 23 24 25 70 80 110 119 143 389 443 465 563 587 636 853 990 992 993 995 1433 1883
        3269 3306 3389 4190 4222 5222 5223 5269 5270 5432 5671 5672 5900 6379 6380 6667 6697 8080 8443
        8883 10809 11211'
    # end of ports
    for port in $ports; do
        echo "$1$port"
    done
}

_cfcat()
{
    local cur prev words cword split
    _init_completion -s -n : || return

    case $prev in
        # made by python -m tests.documents: values
        --shutdown)
            COMPREPLY=($(compgen -W 'auto now never' -- "$cur"))
            return
            ;;
        --accept-tls)
            COMPREPLY=($(compgen -W 'auto on off' -- "$cur"))
            return
            ;;
        --tls)
            COMPREPLY=($(compgen -W 'off on starttls' -- "$cur"))
            return
            ;;
        --starttls)
            COMPREPLY=($(compgen -W 'smtp lmtp pop3 imap ftp nntp sieve xmpp xmpp-server irc ldap postgres mysql
                telnet rdp mssql amqp nbd vnc nats http' -- "$cur"))
            return
            ;;
        --tls-min)
            COMPREPLY=($(compgen -W '1.2 1.3' -- "$cur"))
            return
            ;;
        --tls-max)
            COMPREPLY=($(compgen -W '1.2 1.3' -- "$cur"))
            return
            ;;
        --eol)
            COMPREPLY=($(compgen -W 'crlf lf cr none' -- "$cur"))
            return
            ;;
        --proto)
            COMPREPLY=($(compgen -W 'auto none smtp lmtp pop3 imap ftp nntp sieve xmpp irc ldap postgres mysql
                nats http redis gopher memcached' -- "$cur"))
            return
            ;;
        --color)
            COMPREPLY=($(compgen -W 'auto always never' -- "$cur"))
            return
            ;;
        --proxy-cacert | --client-ca | --ca-out | --replay | --cacert | --cert | --key | --script | --log | --pcap | --export | --from | --events)
            _filedir
            return
            ;;
        --sni)
            _known_hosts_real -- "$cur"
            return
            ;;
        --connect-timeout | --proxy | --source | --resolve | --proxy-protocol | --wait | -w | --idle-timeout | -q | --quit-after | --tap | --ignore | --connection | --helo | --alpn | --ciphers | --var | --after | --until)
            return
            ;;
        # end of values
    esac
    $split && return

    if [[ $cur == -* ]]; then
        # made by python -m tests.documents: options
        COMPREPLY=($(compgen -W '--half-open --no-half-open -4 -6 --workers --check-workers
            --connect-timeout --proxy --proxy-cacert --source --resolve --proxy-protocol -z --check --wait
            -w --idle-timeout --shutdown --no-shutdown -q --quit-after -l --listen --keep --client-ca
            --ca-out --tap --accept-tls --quiet --once --replay --ignore --connection --tls --starttls
            --helo --sni --cacert --cert --key --alpn --tls-min --tls-max --ciphers --ignore-unexpected-eof
            -k --insecure --repl --script --var --pipe -C --crlf --after --until --eol --proto --no-history
            -v --verbose -x --hexdump --log --log-secrets --pcap --export --from --events --json --progress
            --color --raw -V --version -h --help' -- "$cur"))
        # end of options
        return
    fi

    # What stands before the cursor and is neither an option nor the value of one.
    local number target=
    for ((number = 1; number < cword; number++)); do
        case ${words[number]} in
            # made by python -m tests.documents: options with a value
            --connect-timeout | --proxy | --proxy-cacert | --source | --resolve | --proxy-protocol | --wait | \
                -w | --idle-timeout | --shutdown | -q | --quit-after | --client-ca | --ca-out | --tap | \
                --accept-tls | --replay | --ignore | --connection | --tls | --starttls | --helo | --sni | \
                --cacert | --cert | --key | --alpn | --tls-min | --tls-max | --ciphers | --script | --var | \
                --after | --until | --eol | --proto | --log | --pcap | --export | --from | --events | --color)
                ((number++))
                ;;
            # end of options with a value
            -*) ;;
            *)
                [[ -n $target ]] && return
                target=${words[number]}
                ;;
        esac
    done

    if [[ $target == *:* ]]; then
        return
    elif [[ -n $target ]]; then
        COMPREPLY=($(compgen -W '$(__cfcat_ports)' -- "$cur"))
    elif [[ $cur == *: ]] || [[ $cur == *:* && $cur != \[* ]]; then
        COMPREPLY=($(compgen -W '$(__cfcat_earlier; __cfcat_ports "${cur%:*}:")' -- "$cur"))
        __ltrim_colon_completions "$cur"
    else
        _known_hosts_real -c -- "$cur"
        COMPREPLY+=($(compgen -W '$(__cfcat_earlier)' -- "$cur"))
        # After a host comes its port.
        [[ ${#COMPREPLY[@]} -gt 0 && ${COMPREPLY[0]} == *: ]] && compopt -o nospace
        __ltrim_colon_completions "$cur"
    fi
} &&
    complete -F _cfcat cfcat

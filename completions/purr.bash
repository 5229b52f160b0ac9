# Completion of purr's options and operands for bash. Where nothing is proposed
# here, readline proposes names of files.

_purr() {
	local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]}
	local IFS=$' \t\n' options i
	COMPREPLY=()
	# bash takes --name=value for three words.
	if [[ $cur == '=' ]]; then
		cur=
	elif [[ $prev == '=' ]]; then
		prev=${COMP_WORDS[COMP_CWORD - 2]}
	fi
	# Behind -- stands the command that --wait-for starts.
	for ((i = 1; i < COMP_CWORD; i++)); do
		if [[ ${COMP_WORDS[i]} == -- ]]; then
			((i + 1 < COMP_CWORD)) || COMPREPLY=($(compgen -c -- "$cur"))
			return
		fi
	done
	# The last letter of a bundle may take a value.
	if [[ $prev =~ ^-[A-Za-z0-9]+$ ]]; then
		prev=-${prev: -1}
	fi
	# options: go test -run TestCompletions -update writes them
	options='--help -h --version --verbose -v --no-sandbox -4 -6 --udp -u --unixsock -U --vsock --listen -l --keep-open -k --source-port -p --source -s --nodns -n -r -F -x -X -P --proxy --proxy-type --proxy-auth --proxy-dns --accept-proxy --send-proxy --send-proxy-v2 -d --recv-only --send-only -N --no-shutdown --echo --echo-any --upper --broker --chat --exec -e --sh-exec -c --exec-grace --crlf -C --telnet -t --interactive --tunnel -L --quit-word --output -o --hex-dump --append-output --wait -w --idle-timeout --connect-timeout --accept-timeout -q -W --max-conns -i --delay -b -I -O -M -m -T --keepalive -D --wait-for --retry --ready-fd --port-file -z --all --any --banner --parallel --list-payloads --payload --expect --secret-file --thorough --count --max-loss --send-file --sum --recv-file --expect-size --expect-sha256 --keep-partial --force --allow --deny --allowfile --denyfile --key-file --key-new --ssl --tls --ssl-verify --ssl-insecure --ssl-trustfile --ssl-servername --ssl-cert --ssl-key --ssl-client-ca --ssl-alpn --pin --progress --no-progress --quiet --json --rate --push --pull --rename --no-resume --live --qr --max-size --hello-timeout'
	case $prev in
	--expect) COMPREPLY=($(compgen -W "any $(purr --list-payloads | cut -d ' ' -f 1)" -- "$cur")); return ;;
	--payload) COMPREPLY=($(compgen -W "auto none $(purr --list-payloads | cut -d ' ' -f 1)" -- "$cur")); return ;;
	-T) COMPREPLY=($(compgen -W 'lowdelay throughput reliability critical inetcontrol netcontrol ef af11 af21 af31 af41 cs0 cs1 cs2 cs3 cs4 cs5 cs6 cs7' -- "$cur")); return ;;
	--exec | -e) COMPREPLY=($(compgen -c -- "$cur")); return ;;
	--help) [[ $cur == -* ]] || { COMPREPLY=($(compgen -W 'all connect pipe udp files push key tls access proxy tunnel exec broker probe scripting progress dump timeouts sockets' -- "$cur")); return; } ;;
	--source-port | -p | --source | -s | -x | -X | -P | --proxy | --proxy-type | --proxy-auth | --proxy-dns | --sh-exec | -c | --exec-grace | --tunnel | -L | --quit-word | --output | -o | --hex-dump | --wait | -w | --idle-timeout | --connect-timeout | --accept-timeout | -q | -W | --max-conns | -i | --delay | -I | -O | -M | -m | --keepalive | --wait-for | --retry | --ready-fd | --port-file | --parallel | --secret-file | --count | --max-loss | --send-file | --recv-file | --expect-size | --expect-sha256 | --allow | --deny | --allowfile | --denyfile | --key-file | --ssl-trustfile | --ssl-servername | --ssl-cert | --ssl-key | --ssl-client-ca | --ssl-alpn | --pin | --rate | --max-size | --hello-timeout) return ;;
	esac
	# end of options
	if [[ $cur == -* ]]; then
		COMPREPLY=($(compgen -W "$options" -- "$cur"))
		return
	fi
	# --push, --pull and -U take names of files, behind the host if there is one.
	if [[ $prev != -* && " ${COMP_WORDS[*]:0:COMP_CWORD} " =~ ' '(--push|--pull|--unixsock|-[A-Za-z0-9]*U[^ ]*)' ' ]]; then
		return
	fi
	COMPREPLY=($(compgen -A hostname -- "$cur"))
} && complete -o default -F _purr purr

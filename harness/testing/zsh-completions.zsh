# Prints what zsh itself completes, a line for each command line.
# Arguments: a completion script, command lines.
zmodload zsh/zpty
zpty child zsh -f -i
send() { zpty -w child "$1" }
# Reads from the shell up to a mark, into REPLY.
until_mark() {
  local part all=''
  while zpty -r child part; do
    all+=$part
    [[ $all == *$1* ]] && break
  done
  REPLY=$all
}
send 'PROMPT= RPROMPT=; unsetopt zle_bracketed_paste; stty -echo'
send 'autoload -Uz compinit && compinit -u -D'
send "source ${(q)1}"
# What is offered goes through compadd. Calls with -O, -A and -D only compute.
send 'compadd() { if [[ ${@[1,(i)(-|--)]} == *-(O|A|D)* ]]; then builtin compadd "$@"; return; fi; local -a hits; local hit; builtin compadd -O hits "$@"; for hit in $hits; do print -r -- "<hit>$hit</hit>"; done; builtin compadd "$@"; }'
send 'zle -C grab complete-word _main_complete'
send 'whole() { zle grab; print -r -- "<end>"; BUFFER=""; zle accept-line }'
# The mark is in two parts: the terminal may echo this line.
send 'zle -N whole; bindkey "^I" whole; print re""ady'
until_mark ready
shift
for line; do
  zpty -w -n child "$line"$'\t'
  until_mark '<end>'
  print -r -- ${(f)"$(print -r -- $REPLY | grep -o '<hit>[^<]*' | cut -c6- | sort -u)"}
done
zpty -d child

#!/bin/sh
# Stands where no program is built for this kind of machine: runs the dfx-backup that pipx installed.
#
# `exec` leaves no process between dfx and the program, which looks for dfx above itself. Where there
# is no /proc, the program relies on PWD to learn where the user stands; this shell has already
# overwritten it with the folder that dfx moved to, so it is asked for again.
if [ "$(uname -s)" = Darwin ]; then
    stands=$(lsof -a -p "$PPID" -d cwd -Fn 2>/dev/null | sed -n 's/^n//p')
    if [ -n "$stands" ]; then
        PWD=$stands
        export PWD
    fi
fi

for program in "$(command -v dfx-backup)" "${PIPX_BIN_DIR:-$HOME/.local/bin}/dfx-backup"; do
    if [ -f "$program" ] && [ -x "$program" ]; then
        exec "$program" "$@"
    fi
done

message="This extension runs the program dfx-backup, which is not installed."
hint="Install it with \`pipx install dfx-backup\` (Python 3.11 or later), then repeat the command."
for word in "$@"; do
    if [ "$word" = --json ]; then
        cat <<END
{
  "output_version": 1,
  "command": null,
  "status": "error",
  "exit_code": 40,
  "data": {
    "warnings": []
  },
  "errors": [
    {
      "code": "tool",
      "message": "$message",
      "hint": "$hint"
    }
  ]
}
END
        exit 40
    fi
done
printf 'Error: %s\nHint: %s\n' "$message" "$hint" >&2
exit 40

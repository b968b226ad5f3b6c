package stack

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"syscall"
)

// guard is a small process beside the stack that cleans up when the one that started the stack dies without closing it:
// by SIGKILL, by a panic, by a test's time limit. The system's own means, a signal to the children at their parent's
// death, is no use here: it is sent once for every thread of a dying parent, a second one makes Nomad give up an orderly
// shutdown, and what Nomad has started does not get it at all.
type guard struct {
	cmd  *exec.Cmd
	pipe io.WriteCloser // ends when the starter does
}

// guardScript waits for a line, which means that all is well, or for the end of its input. Then it kills what carries
// the stack's mark until there is nothing left, and removes all but the logs. It gets by with the shell, tr and umount.
const guardScript = `read -r line && exit 0
mark=$1 dir=$2 newline='
'
exec 2>/dev/null
for round in 1 2 3 4 5 6 7 8 9 10; do
  found=
  for e in /proc/[0-9]*/environ; do
    case $newline$(tr '\000' '\n' <"$e")$newline in
    *"$newline$mark$newline"*)
      p=${e#/proc/}
      kill -9 "${p%/environ}" && found=1
      ;;
    esac
  done
  [ -n "$found" ] || break
  sleep 0.2
done
while read -r _ point _; do
  case $point in "$dir"/*) umount -l "$point" ;; esac
done </proc/mounts
cd "$dir" && for f in *; do
  [ "$f" = logs ] || rm -rf "$f"
done
`

func startGuard(dir string) (*guard, error) {
	cmd := exec.Command("sh", "-c", guardScript, "argosy-stack-guard", marker+"="+dir, dir)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH")}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // what is sent to the starter's group or terminal is not for it
	pipe, err := cmd.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("guard: %w", err)
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("guard: %w", err)
	}
	return &guard{cmd: cmd, pipe: pipe}, nil
}

// dismiss ends the guard: the stack has been closed in order.
func (g *guard) dismiss() {
	io.WriteString(g.pipe, "closed\n")
	g.pipe.Close()
	g.cmd.Wait()
}

package laptop_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"argosy/demo/laptop"
	"argosy/demo/screen"
	"argosy/dev"
	"argosy/e2e/stack"
)

type logWriter struct{ t *testing.T }

func (w logWriter) Write(p []byte) (int, error) {
	w.t.Log(strings.TrimRight(string(p), "\n"))
	return len(p), nil
}

// nothingIn fails when a process has to do with a folder, or a scratch folder is left in it.
func nothingIn(t *testing.T, dir string) {
	t.Helper()
	if left := dev.ProcessesIn(dir); len(left) > 0 {
		t.Errorf("left behind: %s", strings.Join(left, "\n"))
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "argosy-*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestTheWholeStory(t *testing.T) {
	tmp := t.TempDir()
	t.Setenv("TMPDIR", tmp)
	stage, err := laptop.New(laptop.Options{Binary: stack.Binary(t), Logger: hclog.NewNullLogger()})
	if err != nil {
		t.Fatal(err)
	}
	if err := screen.Show(t.Context(), stage, screen.Options{Once: true, Out: logWriter{t}}); err != nil {
		t.Error(err)
	}
	nothingIn(t, tmp)
}

// demo starts the real program with a temporary folder of its own, so that what it leaves behind can be found.
func demo(t *testing.T, env ...string) (cmd *exec.Cmd, tmp string, out *bytes.Buffer) {
	t.Helper()
	tmp = t.TempDir()
	out = &bytes.Buffer{}
	cmd = exec.Command(stack.Binary(t), "demo", "-once")
	cmd.Env = append(append(os.Environ(), "TMPDIR="+tmp), env...)
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return cmd, tmp, out
}

// await waits for the program to end; a program that does not is killed and a failure.
func await(t *testing.T, cmd *exec.Cmd, within time.Duration) {
	t.Helper()
	kill := time.AfterFunc(within, func() {
		t.Errorf("it did not end within %v", within)
		cmd.Process.Kill()
	})
	defer kill.Stop()
	cmd.Wait()
}

func TestInterruptedAtAnyPoint(t *testing.T) {
	// Within the start, the baseline, the shift, the growth, the shrinking.
	for _, after := range []time.Duration{0, 30, 80, 150, 300, 700, 2000, 4000, 9000, 11000, 16000} {
		after *= time.Millisecond
		t.Run(after.String(), func(t *testing.T) {
			t.Parallel()
			cmd, tmp, out := demo(t)
			time.Sleep(after)
			cmd.Process.Signal(syscall.SIGINT)
			await(t, cmd, 20*time.Second)
			nothingIn(t, tmp)
			if strings.Contains(out.String(), "left behind") || strings.Contains(out.String(), "every step happened") {
				t.Errorf("it says\n%s", out)
			}
			if after >= 300*time.Millisecond && (cmd.ProcessState.ExitCode() != 1 || !strings.Contains(out.String(), "interrupted")) {
				t.Errorf("exit %v, it says\n%s", cmd.ProcessState, out)
			}
		})
	}
}

func TestInterruptedTwice(t *testing.T) {
	t.Parallel()
	cmd, tmp, _ := demo(t)
	time.Sleep(3 * time.Second)
	cmd.Process.Signal(syscall.SIGINT)
	time.Sleep(20 * time.Millisecond)
	cmd.Process.Signal(syscall.SIGINT)
	await(t, cmd, 5*time.Second)
	nothingIn(t, tmp)
}

// Who is killed cannot clean up, but its processes must not outlive it.
func TestKilled(t *testing.T) {
	t.Parallel()
	cmd, tmp, _ := demo(t)
	time.Sleep(3 * time.Second)
	if found := dev.ProcessesIn(tmp); len(found) < 6 {
		t.Errorf("only these run: %v", found)
	}
	cmd.Process.Kill()
	cmd.Wait()
	deadline := time.Now().Add(5 * time.Second)
	for len(dev.ProcessesIn(tmp)) > 0 {
		if time.Now().After(deadline) {
			t.Fatalf("left behind: %v", dev.ProcessesIn(tmp))
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// Where redis-server is not installed, nothing else changes.
func TestWithoutRedisServer(t *testing.T) {
	t.Parallel()
	cmd, tmp, out := demo(t, "PATH=/nonexistent")
	time.Sleep(5 * time.Second)
	cmd.Process.Signal(syscall.SIGINT)
	await(t, cmd, 20*time.Second)
	nothingIn(t, tmp)
	if !strings.Contains(out.String(), "requests were answered from redis1 (100.0 %)") {
		t.Errorf("it says\n%s", out)
	}
}

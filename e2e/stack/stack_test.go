//go:build servers

package stack

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// sleeper is a job whose task would live on for minutes.
const sleeper = `job "sleeper" {
  group "g" {
    count = 2
    update {
      max_parallel = 0
    }
    task "t" {
      driver = "raw_exec"
      config {
        command = "sleep"
        args    = ["600"]
      }
      resources {
        cpu    = 20
        memory = 16
      }
    }
  }
}
`

func runSleeper(ctx context.Context, s *Stack) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	file := s.Path("sleeper.nomad.hcl")
	if err := os.WriteFile(file, []byte(sleeper), 0o644); err != nil {
		return err
	}
	if err := s.Nomad.Submit(ctx, file, nil); err != nil {
		return err
	}
	return Eventually(ctx, 50*time.Millisecond, func(ctx context.Context) error {
		_, running, err := s.Nomad.Count(ctx, "sleeper", "g")
		if err != nil {
			return err
		}
		tasks := 0
		for _, pid := range marked([]byte(marker + "=" + s.Dir + "\x00")) {
			if b, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid)); err == nil && strings.HasSuffix(string(b), "sleep\x00600\x00") {
				tasks++
			}
		}
		if running != 2 || tasks != 2 {
			return fmt.Errorf("%d allocations and %d tasks run, not 2", running, tasks)
		}
		return nil
	})
}

// gone fails unless nothing of a stack is left.
func gone(t *testing.T, dir string, base int) {
	t.Helper()
	if pids := marked([]byte(marker + "=" + dir + "\x00")); len(pids) > 0 {
		t.Errorf("processes %v are left", pids)
	}
	if _, err := os.Stat(dir); !os.IsNotExist(err) {
		t.Errorf("folder %s is left: %v", dir, err)
	}
	if b, _ := os.ReadFile("/proc/mounts"); strings.Contains(string(b), dir) {
		t.Errorf("mounts are left under %s", dir)
	}
	for port := base; port < base+portsEach; port++ {
		l, err := net.Listen("tcp4", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			t.Errorf("port %d is left: %v", port, err)
			continue
		}
		l.Close()
	}
}

func TestSeveralStacksSideBySideLeaveNothing(t *testing.T) {
	for i := range 2 {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			t.Parallel()
			started := time.Now()
			s := New(t, Options{Nomad: true, Prometheus: true})
			t.Logf("ready after %s", time.Since(started).Round(10*time.Millisecond))
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			if err := runSleeper(ctx, s); err != nil {
				t.Fatal(err)
			}
			if err := Eventually(ctx, 100*time.Millisecond, func(ctx context.Context) error {
				_, err := s.Prometheus.Query(ctx, "vector(7)")
				return err
			}); err != nil {
				t.Error(err)
			}
			stopping := time.Now()
			if err := s.Close(); err != nil {
				t.Error(err)
			}
			t.Logf("closed in %s", time.Since(stopping).Round(10*time.Millisecond))
			gone(t, s.Dir, s.ports.base)
		})
	}
}

func TestKilledNomadLeavesNothing(t *testing.T) {
	s := New(t, Options{Nomad: true})
	if err := runSleeper(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	s.Nomad.Kill()
	if n := len(marked([]byte(marker + "=" + s.Dir + "\x00"))); n < 3 {
		t.Errorf("only %d processes survived Nomad: the test shows nothing", n)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	gone(t, s.Dir, s.ports.base)
}

// TestProcessesEndWithTheirStarter runs itself as another process that starts a stack and is then killed.
func TestProcessesEndWithTheirStarter(t *testing.T) {
	const helper = "ARGOSY_STACK_HELPER"
	if os.Getenv(helper) != "" {
		s, err := Start(t.Context(), Options{Nomad: true, Dir: os.Getenv(helper)})
		if err == nil {
			err = runSleeper(t.Context(), s)
		}
		fmt.Println("stack", s.Dir, err)
		select {}
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self, "-test.run=^TestProcessesEndWithTheirStarter$")
	cmd.Env = append(os.Environ(), helper+"="+t.TempDir())
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, _ := bufio.NewReader(out).ReadString('\n')
	f := strings.Fields(line)
	if len(f) != 3 || f[2] != "<nil>" {
		cmd.Process.Kill()
		t.Fatalf("the helper says %q", line)
	}
	mark := []byte(marker + "=" + f[1] + "\x00")
	if n := len(marked(mark)); n < 4 {
		t.Errorf("only %d processes: the test shows nothing", n)
	}
	cmd.Process.Kill()
	cmd.Wait()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := Eventually(ctx, 50*time.Millisecond, func(context.Context) error {
		if pids := marked(mark); len(pids) > 0 {
			return fmt.Errorf("processes %v have survived", pids)
		}
		return nil
	}); err != nil {
		t.Errorf("%v\n%s", err, tail(f[1]+"/logs/nomad.log", 20))
		for _, pid := range marked(mark) {
			args, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
			t.Logf("%d: %s", pid, bytes.ReplaceAll(args, []byte{0}, []byte{' '}))
		}
	}
	// The guard takes the rest away after the processes, and leaves the logs to whoever wants to know what happened.
	if err := Eventually(ctx, 50*time.Millisecond, func(context.Context) error {
		if _, err := os.Stat(f[1] + "/nomad"); err == nil {
			return errors.New("Nomad's folder has survived")
		}
		if b, _ := os.ReadFile("/proc/mounts"); strings.Contains(string(b), f[1]) {
			return errors.New("mounts have survived")
		}
		return nil
	}); err != nil {
		t.Error(err)
	}
	if tail(f[1]+"/logs/nomad.log", 1) == "" {
		t.Error("the logs are gone")
	}
}

func TestConsulKeepsItsStateOverARestart(t *testing.T) {
	s := New(t, Options{ConsulKeeps: true})
	ctx := t.Context()
	if out, err := s.Run(ctx, "consul", "kv", "put", "a/b", "c"); err != nil {
		t.Fatal(out, err)
	}
	before := s.Consul.Pid()
	if err := s.Consul.Restart(ctx); err != nil {
		t.Fatal(err)
	}
	if s.Consul.Pid() == before {
		t.Error("it is the same process")
	}
	out, err := s.Run(ctx, "consul", "kv", "get", "a/b")
	if err != nil || strings.TrimSpace(out) != "c" {
		t.Errorf("got %q, %v", out, err)
	}
}

func TestRedis(t *testing.T) {
	s := New(t, Options{})
	r, err := s.StartRedis(t.Context(), "redis1")
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Stop(5 * time.Second); err != nil {
		t.Error(err)
	}
}

func TestServerThatDoesNotStartIsReportedWithItsLog(t *testing.T) {
	_, err := Start(t.Context(), Options{Consul: true, ConsulHCL: "no_such_key = 1"})
	if err == nil || !strings.Contains(err.Error(), "no_such_key") {
		t.Errorf("got %v", err)
	}
}

package servers

import (
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"regexp"
	"strconv"
	"time"
)

// version is a release number.
type version [3]int

func (v version) String() string { return fmt.Sprintf("%d.%d.%d", v[0], v[1], v[2]) }

func (v version) less(w version) bool {
	for i := range v {
		if v[i] != w[i] {
			return v[i] < w[i]
		}
	}
	return false
}

// versionPattern finds the number in "Consul v1.21.0", "Nomad v1.10.5" and "prometheus, version 2.42.0+ds (...".
var versionPattern = regexp.MustCompile(`(?i)\bv?(?:ersion )?(\d+)\.(\d+)\.(\d+)`)

func parseVersion(text []byte) (version, error) {
	m := versionPattern.FindSubmatch(text)
	if m == nil {
		return version{}, errNoVersion
	}
	var v version
	for i := range v {
		n, err := strconv.Atoi(string(m[i+1]))
		if err != nil {
			return version{}, errNoVersion
		}
		v[i] = n
	}
	return v, nil
}

// askVersion runs a program to learn its version. All three servers know "--version".
func askVersion(ctx context.Context, program string) (version, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, program, "--version").CombinedOutput()
	if err != nil {
		return version{}, fmt.Errorf("%s --version: %w", program, err)
	}
	return parseVersion(out)
}

func containsString(b []byte, s string) bool { return bytes.Contains(b, []byte(s)) }

package table

import "testing"

func TestOnlyTheEntryForRedisIsChanged(t *testing.T) {
	const before = "# version AAA=\n/svc => /#/io.l5d.fs ;\n"
	const after = "/svc/other => /cluster/redis1 ;\n"
	for in, want := range map[string]string{
		"/svc/redis => /cluster/redis1 ;\n":                     "/svc/redis => /cluster/redis2 ;\n",
		"/svc/redis  => /#/io.l5d.consul/.local/redis1;\n":      "/svc/redis  => /#/io.l5d.consul/.local/redis2 ;\n",
		"/svc/redis => 9 * /a/redis1 & 1 * /a/redis2 ;\n":       "/svc/redis => /a/redis2 ;\n",
		"  /svc/redis => /cluster/redis2 | /cluster/redis1 ;\n": "  /svc/redis => /cluster/redis2 ;\n",
		"/svc/redis-1 => /cluster/redis1 ;\n":                   "/svc/redis-1 => /cluster/redis1 ;\n",
	} {
		if got := string(redisEntry.ReplaceAll([]byte(before+in+after), []byte("${1}${2}redis2 "))); got != before+want+after {
			t.Errorf("%q became\n%q, want\n%q", in, got, want)
		}
	}
}

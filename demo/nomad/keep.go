package main

import (
	"context"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"argosy/e2e/stack"
)

// preserve copies what Nomad and the agents would take with them into the stack's logs: what the tasks have written, and
// what the agents say of themselves at the end. It does what it can; there is nobody to tell about the rest.
func preserve(ctx context.Context, st *stack.Stack) {
	dir := st.Path("logs", "tasks")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return
	}
	files, _ := filepath.Glob(st.Path("nomad", "alloc", "*", "alloc", "logs", "*.std*"))
	for _, f := range files {
		allocation, _, _ := strings.Cut(strings.TrimPrefix(f, st.Path("nomad", "alloc")+string(filepath.Separator)), string(filepath.Separator))
		if info, err := os.Lstat(f); err != nil || !info.Mode().IsRegular() {
			continue // Nomad's pipes are there, too
		}
		if text, err := os.ReadFile(f); err == nil {
			_ = os.WriteFile(filepath.Join(dir, allocation[:min(8, len(allocation))]+"."+filepath.Base(f)), text, 0o644)
		}
	}
	client := &http.Client{Timeout: time.Second}
	defer client.CloseIdleConnections()
	for _, name := range []string{fleet, "entry"} {
		all, _ := services(ctx, st, name)
		for _, i := range all {
			for _, page := range []string{"metrics", "v1/connections", "v1/routes"} {
				req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+i.Meta["admin"]+"/"+page, nil)
				if err != nil {
					continue
				}
				res, err := client.Do(req)
				if err != nil {
					continue
				}
				text, _ := io.ReadAll(res.Body)
				res.Body.Close()
				_ = os.WriteFile(filepath.Join(dir, i.ID+"."+filepath.Base(page)), text, 0o644)
			}
		}
	}
}

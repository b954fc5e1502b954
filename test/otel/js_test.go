package otel_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

func TestJavaScriptSDKExportsAllSignals(t *testing.T) {
	dir := install(t)
	for _, c := range []struct{ protocol, compression string }{
		{"grpc", "none"},
		{"grpc", "gzip"},
		{"http/protobuf", "none"},
		{"http/protobuf", "gzip"},
		{"http/json", "none"},
		{"http/json", "gzip"},
	} {
		t.Run(c.protocol+" "+c.compression, func(t *testing.T) {
			to := collect(t)
			endpoint := to.http
			if c.protocol == "grpc" {
				endpoint = to.grpc
			}
			cmd := exec.CommandContext(t.Context(), "node", "export.mjs", "js", c.protocol, endpoint, c.compression)
			cmd.Dir = dir
			if out, err := cmd.CombinedOutput(); err != nil || len(out) > 0 {
				t.Fatalf("%v: %s", err, out)
			}
			to.check(t, "js")
		})
	}
}

// install copies the folder js and installs what it needs. Without node or the registry the test is skipped.
func install(t *testing.T) string {
	t.Helper()
	for _, tool := range []string{"node", "npm"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("there is no %s here; where Node 20 is installed it runs", tool)
		}
	}
	dir := t.TempDir()
	for _, name := range []string{"package.json", "package-lock.json", "export.mjs"} {
		b, err := os.ReadFile(filepath.Join("js", name))
		must(t, err)
		must(t, os.WriteFile(filepath.Join(dir, name), b, 0o600))
	}
	cmd := exec.CommandContext(t.Context(), "npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--fetch-retries=0",
		"--prefer-offline")
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Skipf("npm ci does not work here; where a registry of npm can be reached it runs: %v: %.1000s", err, out)
	}
	return dir
}

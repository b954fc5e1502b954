package arch_test

import (
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/atollhq/atoll/"

// capabilities are the rooms that hold nouns and decisions. Below each lie its drivers and its test suite.
func capabilities() []string {
	return []string{"replica", "relay", "gateway", "mesh", "telemetry", "database", "source", "bus", "webhook", "saga", "alert"}
}

// mayImport tells whether a package of ours may import another. Both are paths without the module; a is not b.
func mayImport(a, b string) bool {
	a, b = strings.TrimPrefix(a, "internal/"), strings.TrimPrefix(b, "internal/")
	roomA, _, _ := strings.Cut(a, "/")
	roomB, _, _ := strings.Cut(b, "/")
	isDriver := func(p, room string) bool { return p != room }
	switch {
	case roomB == "fault", roomA == "test", roomA == "bench":
		return true
	case roomA == "cmd":
		return roomB == "cli"
	case roomA == "reference": // a command that writes documentation
		return b == "cli" || b == "control" || b == "manifest"
	case roomA == "sdk", roomA == "fault", roomA == "arch":
		return false
	case roomA == "cli":
		return b != "control" && !isDriver(b, roomB) || b == "control/client" || b == "control/api" || b == "replica/process"
	case roomA == "platform":
		return roomB != "cli"
	case roomA == "control":
		return a != "control/api" && (roomB == "telemetry" && b == "telemetry" || roomB == "control")
	case roomB == "control", roomB == "platform", roomB == "cli", roomB == "sdk":
		return false
	case roomA == "manifest":
		return false
	case roomB == "manifest":
		return true
	case roomA == roomB && strings.HasPrefix(b, a+"/") && isDriver(a, roomA): // what lies within a driver is its own
		return true
	case roomA == roomB && slices.Contains(capabilities(), roomA):
		// A driver imports its capability's root, never the other way, and no driver another, but for the suite.
		return b == roomB || a != roomA && strings.HasSuffix(b, "test")
	case roomA == "gateway", roomA == "mesh":
		return b == "relay" || strings.HasPrefix(b, "relay/") && isDriver(a, roomA)
	}
	return false
}

// imports lists what every package of the module imports of the module, tests left out.
func imports(t *testing.T) map[string][]string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "go", "list", "-f", `{{.ImportPath}}{{range .Imports}} {{.}}{{end}}`, module+"...").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	all := map[string][]string{}
	for line := range strings.Lines(string(out)) {
		fields := strings.Fields(line)
		from := strings.TrimPrefix(fields[0], module)
		all[from] = nil
		for _, to := range fields[1:] {
			if ours, ok := strings.CutPrefix(to, module); ok {
				all[from] = append(all[from], ours)
			}
		}
	}
	return all
}

func TestNoPackageImportsWhatTheLatticeForbids(t *testing.T) {
	all := imports(t)
	if len(all) < 15 {
		t.Fatalf("go list found only %d packages", len(all))
	}
	for from, list := range all {
		for _, to := range list {
			if !mayImport(from, to) {
				t.Errorf("%s imports %s, which ARCHITECTURE.md forbids", from, to)
			}
		}
	}
}

func TestTheLatticeForbidsWhatItShould(t *testing.T) {
	for _, pair := range []string{
		"internal/replica internal/relay", "internal/gateway internal/mesh", "internal/replica internal/replica/process",
		"internal/relay internal/gateway", "internal/manifest internal/replica", "internal/fault internal/manifest",
		"internal/cli internal/database/postgres", "internal/cli internal/control", "internal/control internal/platform",
		"sdk internal/relay", "cmd/atoll internal/platform", "internal/gateway internal/relay/std", "internal/control/api internal/telemetry",
		"internal/database/postgres internal/database/sqlite", "internal/platform internal/cli", "internal/alert internal/telemetry", "internal/alert internal/alert/notify",
	} {
		from, to, _ := strings.Cut(pair, " ")
		if mayImport(from, to) {
			t.Errorf("%s may import %s", from, to)
		}
	}
	for _, pair := range []string{
		"internal/relay/std internal/relay", "internal/gateway internal/relay", "internal/relay internal/manifest",
		"sdk internal/fault", "internal/platform internal/database/postgres", "internal/control/client internal/control/api",
	} {
		from, to, _ := strings.Cut(pair, " ")
		if !mayImport(from, to) {
			t.Errorf("%s may not import %s", from, to)
		}
	}
}

func TestRootPackagesImportNoTechnology(t *testing.T) {
	out, err := exec.CommandContext(t.Context(), "go", "list", "-f", `{{.ImportPath}}{{range .Imports}} {{.}}{{end}}`, module+"internal/...").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	forbidden := []string{"database/sql", "github.com/jackc/", "github.com/nats-io/", "os/exec", "k8s.io/"}
	for line := range strings.Lines(string(out)) {
		fields := strings.Fields(line)
		room := strings.TrimPrefix(fields[0], module+"internal/")
		if !slices.Contains(capabilities(), room) && room != "manifest" && room != "fault" {
			continue
		}
		for _, imported := range fields[1:] {
			for _, f := range forbidden {
				if strings.HasPrefix(imported, f) {
					t.Errorf("%s imports %s: that belongs into a driver", room, imported)
				}
			}
		}
	}
}

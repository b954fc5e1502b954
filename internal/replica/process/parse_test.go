//go:build linux

package process_test

import (
	"maps"
	"os/exec"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/atollhq/atoll/internal/replica/process"
)

func TestOwnCgroupsAreFoundInEveryLayout(t *testing.T) {
	t.Parallel()
	const v2 = "31 24 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n"
	const v1 = "40 33 0:30 / /sys/fs/cgroup/cpu,cpuacct rw shared:9 - cgroup cgroup rw,cpu,cpuacct\n" +
		"41 33 0:31 / /sys/fs/cgroup/memory rw shared:10 - cgroup cgroup rw,memory\n" +
		"42 33 0:32 / /sys/fs/cgroup/unified rw shared:11 - cgroup2 cgroup2 rw\n" +
		"43 33 0:33 / /sys/fs/cgroup/pids rw shared:12 - cgroup cgroup rw,pids\n"
	const bound = "31 24 0:26 /docker/abc /sys/fs/cgroup ro - cgroup2 cgroup rw\n"
	for _, test := range []struct {
		name, mounts, self, v2 string
		v1                     map[string]string
	}{
		{"version 2", v2, "0::/user.slice/app.scope\n", "/sys/fs/cgroup/user.slice/app.scope", nil},
		{
			"hybrid", v1, "5:memory:/box\n3:cpu,cpuacct:/\n0::/x\n", "/sys/fs/cgroup/unified/x",
			map[string]string{"memory": "/sys/fs/cgroup/memory/box", "cpu": "/sys/fs/cgroup/cpu,cpuacct"},
		},
		{"container", bound, "0::/docker/abc/inner\n", "/sys/fs/cgroup/inner", nil},
		{"none", "22 1 8:1 / / rw - ext4 /dev/sda1 rw\n", "", "", nil},
		{"nonsense", "- -\n\n", "::\nx\n", "", nil},
	} {
		v2, v1 := process.Locate(test.mounts, test.self)
		if v2 != test.v2 || !maps.Equal(v1, test.v1) {
			t.Errorf("%s: %q %v", test.name, v2, v1)
		}
	}
}

// The shell itself is the oracle: what is called simple means to it what the words say.
func TestSimpleCommandsAreSplitAsTheShellDoes(t *testing.T) {
	t.Parallel()
	piece := rapid.SampledFrom([]string{"a", "b c", "'", `"`, `\`, " ", "é", "$X", "-x", "/p", "\t", "=", ".", ",", "%", "@", "+", ":", "^"})
	rapid.Check(t, func(t *rapid.T) {
		line := "x" + strings.Join(rapid.SliceOfN(piece, 0, 10).Draw(t, "pieces"), "")
		words, simple, err := process.ShellWords(line)
		if err != nil || !simple {
			return
		}
		out, err := exec.Command("/bin/sh", "-c", `printf '<%s>' `+line).Output()
		if err != nil {
			t.Fatalf("%q: the shell: %v", line, err)
		}
		if want := "<" + strings.Join(words, "><") + ">"; string(out) != want {
			t.Fatalf("%q: %s, the shell says %s", line, want, out)
		}
	})
}

func FuzzShellWords(f *testing.F) {
	f.Add(`bin/orders --name "a b" \$x 'y'`)
	f.Fuzz(func(t *testing.T, line string) {
		words, simple, err := process.ShellWords(line)
		if err != nil && (words != nil || simple) {
			t.Errorf("%q: an error, and words %q", line, words)
		}
	})
}

//go:build linux

package process_test

import (
	"context"
	"errors"
	"syscall"
	"testing"

	"github.com/atollhq/atoll/internal/replica"
	"github.com/atollhq/atoll/internal/replica/process"
)

func TestWhatLeftItsGroupEndsWithItsReplica(t *testing.T) {
	t.Parallel()
	d := open(t, nil)
	other, otherOut := start(t, d, self("family", "stray", "stay"), func(s *replica.Spec) { s.Replica = "orders-2" })
	bystander := otherOut.number(t, "child")
	p, out := start(t, d, self("family", "stray"), nil)
	child := out.number(t, "child")
	<-p.Done()
	if exit := p.Exit(); exit.Code != 7 {
		t.Errorf("exit %+v", exit)
	}
	eventually(t, "the stray is gone", func() bool { return !runs(child) })
	if !runs(bystander) || !runs(other.PID()) {
		t.Error("what another replica started was killed")
	}
}

func TestAStrayWithoutAMarkThatHoldsTheOutputDoesNotHideTheEnd(t *testing.T) {
	t.Parallel()
	p, out := start(t, open(t, nil), self("family", "bare"), nil)
	child := out.number(t, "child")
	defer func() { _ = syscall.Kill(child, syscall.SIGKILL) }() // it left the group on purpose
	<-p.Done()
	if exit := p.Exit(); exit.Code != 7 {
		t.Errorf("exit %+v", exit)
	}
	if !runs(child) {
		t.Error("the test is void: the stray ended too")
	}
}

func TestCloseEndsTheDaemonsOfBuilds(t *testing.T) {
	t.Parallel()
	d, err := process.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	out := &output{}
	err = d.Build(t.Context(), replica.BuildSpec{Service: "orders", Dir: t.TempDir(), Command: self("family", "stray"), Output: out.take})
	if err == nil {
		t.Error("the helper ends with 7")
	}
	child := out.number(t, "child")
	if !runs(child) {
		t.Error("the daemon of a build ended before Close")
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the daemon is gone", func() bool { return !runs(child) })
}

func TestABuildThatIsCancelledLeavesNoDaemon(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	out := &output{}
	ended := make(chan error, 1)
	d, dir := open(t, nil), t.TempDir()
	go func() {
		ended <- d.Build(ctx, replica.BuildSpec{Service: "orders", Dir: dir, Command: self("family", "stray", "stay"), Output: out.take})
	}()
	child := out.number(t, "child")
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	eventually(t, "the daemon is gone", func() bool { return !runs(child) })
}

func TestWhatLeftItsGroupDoesNotSurviveAKillOfAtoll(t *testing.T) {
	t.Parallel()
	atoll, parent, child := supervised(t, t.TempDir(), "guard", "stray", "stay")
	killHard(t, atoll)
	eventually(t, "parent and stray are gone", func() bool { return !runs(parent) && !runs(child) })
}

func TestTheNextRunEndsWhatLeftItsGroup(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	atoll, parent, child := supervised(t, dir, "alone", "stray", "stay")
	if n, err := process.CleanLeftovers(t.Context(), dir, nil); n != 0 || err != nil || !runs(parent) || !runs(child) {
		t.Fatalf("cleaned %d under an Atoll that runs, %v", n, err)
	}
	killHard(t, atoll)
	eventually(t, "the kernel ended the direct child", func() bool { return !runs(parent) })
	if n, err := process.CleanLeftovers(t.Context(), t.TempDir(), nil); n != 0 || err != nil || !runs(child) {
		t.Errorf("cleaned %d of another folder, %v", n, err)
	}
	if n, err := process.CleanLeftovers(t.Context(), dir, nil); n != 1 || err != nil || runs(child) {
		t.Errorf("cleaned %d, %v; the stray runs: %t", n, err, runs(child))
	}
}

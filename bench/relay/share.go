package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/google/pprof/profile"
)

// shares are nanoseconds of processor time.
type shares struct {
	all        float64
	request    float64 // telemetry in the path of a request
	background float64 // telemetry elsewhere
	collected  float64 // garbage, of all
	allocated  float64 // part of what is allocated that telemetry allocates
}

func (s *shares) telemetry() float64 { return s.request + s.background + s.collected*s.allocated }

const profileLimit = 30 * time.Second

// profiled profiles Atoll while do runs.
func (a *app) profiled(ctx context.Context, round int, do func() (int64, error)) (s shares, requests int64, err error) {
	if err := syscall.Kill(a.pid, syscall.SIGUSR1); err != nil {
		return s, 0, fmt.Errorf("begin profile: %w", err)
	}
	if requests, err = do(); err != nil {
		return s, 0, err
	}
	if err := syscall.Kill(a.pid, syscall.SIGUSR1); err != nil {
		return s, 0, fmt.Errorf("end profile: %w", err)
	}
	name := func(kind string) string { return filepath.Join(a.profiles, fmt.Sprintf("%d.%s", round, kind)) }
	for ends := time.Now().Add(profileLimit); ; {
		if _, err := os.Stat(name("done")); err == nil {
			break
		}
		if time.Now().After(ends) {
			return s, 0, errors.New("the profile does not come")
		}
		if err := pause(ctx, 50*time.Millisecond); err != nil {
			return s, 0, err
		}
	}
	if err := s.cpu(name("cpu")); err != nil {
		return s, 0, err
	}
	before, mineBefore, err := allocated(name("before"))
	if err != nil {
		return s, 0, err
	}
	after, mineAfter, err := allocated(name("after"))
	if err != nil {
		return s, 0, err
	}
	if s.all == 0 || after == before {
		return s, 0, errors.New("the profile is empty")
	}
	s.allocated = (mineAfter - mineBefore) / (after - before)
	return s, requests, nil
}

func readProfile(path string) (*profile.Profile, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("open profile: %w", err)
	}
	defer file.Close()
	p, err := profile.Parse(file)
	if err != nil {
		return nil, fmt.Errorf("read profile: %w", err)
	}
	return p, nil
}

// value is which of a sample's values has this name.
func value(p *profile.Profile, name string) (int, error) {
	for i, t := range p.SampleType {
		if t.Type == name {
			return i, nil
		}
	}
	return 0, fmt.Errorf("the profile has no %s", name)
}

func (s *shares) cpu(path string) error {
	p, err := readProfile(path)
	if err != nil {
		return err
	}
	at, err := value(p, "cpu")
	if err != nil {
		return err
	}
	for _, sample := range p.Sample {
		ns := float64(sample.Value[at])
		s.all += ns
		switch stack := functions(sample); {
		case slices.ContainsFunc(stack, isCollector):
			s.collected += ns
		case slices.ContainsFunc(stack, isHook):
			s.request += ns
		case slices.ContainsFunc(stack, isTelemetry):
			s.background += ns
		}
	}
	return nil
}

func allocated(path string) (all, telemetry float64, err error) {
	p, err := readProfile(path)
	if err != nil {
		return 0, 0, err
	}
	at, err := value(p, "alloc_space")
	if err != nil {
		return 0, 0, err
	}
	for _, sample := range p.Sample {
		bytes := float64(sample.Value[at])
		all += bytes
		if stack := functions(sample); slices.ContainsFunc(stack, isHook) || slices.ContainsFunc(stack, isTelemetry) {
			telemetry += bytes
		}
	}
	return all, telemetry, nil
}

func functions(s *profile.Sample) (names []string) {
	for _, l := range s.Location {
		for _, line := range l.Line {
			names = append(names, line.Function.Name)
		}
	}
	return names
}

const module = "github.com/atollhq/atoll/internal/"

func begins(name string, with ...string) bool {
	for _, w := range with {
		if strings.HasPrefix(name, w) {
			return true
		}
	}
	return false
}

// isHook tells what is called when a request has ended: the span, its metrics, and the line of the access log.
func isHook(name string) bool {
	return begins(name, module+"platform.(*Platform).hop", module+"gateway.(*Gateway).onHop")
}

// isTelemetry tells what keeps what was seen: the collector, the stores and what reads Atoll's own metrics. Alerts count too where they
// ask the stores.
func isTelemetry(name string) bool {
	return begins(name, module+"telemetry", module+"platform.(*collector)", module+"platform.(*observatory)", module+"platform.(*exposition)",
		module+"platform.(*requestMetrics)", "github.com/prometheus/")
}

// isCollector tells what the garbage collector does, for all together.
func isCollector(name string) bool {
	return begins(name, "runtime.gcBgMarkWorker", "runtime.gcAssistAlloc", "runtime.bgsweep", "runtime.bgscavenge", "runtime.gcStart", "runtime.gcMarkTermination", "runtime.gcMarkDone", "runtime.deductSweepCredit")
}

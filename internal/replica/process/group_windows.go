package process

import (
	"os"
	"os/exec"
	"syscall"
	"unsafe"

	"golang.org/x/sys/windows"

	"github.com/atollhq/atoll/internal/replica"
)

// prepare gives the process a group of its own, so that Ctrl-C in the terminal does not reach it.
func prepare(cmd *exec.Cmd, _ *cgroup) {
	cmd.SysProcAttr = &syscall.SysProcAttr{CreationFlags: windows.CREATE_NEW_PROCESS_GROUP}
}

// enclosure is a job object, which holds the process and everything that it starts, and ends them when its
// last handle closes: with Atoll, at the latest.
type enclosure struct{ job windows.Handle }

func enclose(pid int) (enclosure, error) {
	job, err := windows.CreateJobObject(nil, nil)
	if err != nil {
		return enclosure{}, os.NewSyscallError("CreateJobObject", err)
	}
	e := enclosure{job: job}
	var info windows.JOBOBJECT_EXTENDED_LIMIT_INFORMATION
	info.BasicLimitInformation.LimitFlags = windows.JOB_OBJECT_LIMIT_KILL_ON_JOB_CLOSE
	_, err = windows.SetInformationJobObject(job, windows.JobObjectExtendedLimitInformation,
		uintptr(unsafe.Pointer(&info)), uint32(unsafe.Sizeof(info)))
	if err != nil {
		e.close()
		return enclosure{}, os.NewSyscallError("SetInformationJobObject", err)
	}
	process, err := windows.OpenProcess(windows.PROCESS_SET_QUOTA|windows.PROCESS_TERMINATE, false, uint32(pid))
	if err == nil {
		err = windows.AssignProcessToJobObject(job, process)
		_ = windows.CloseHandle(process) // only opened for this
	}
	if err != nil {
		e.close()
		return enclosure{}, os.NewSyscallError("AssignProcessToJobObject", err)
	}
	return e, nil
}

func (e enclosure) close() {
	if e.job != 0 {
		_ = windows.CloseHandle(e.job) // ends what is left in it
	}
}

// terminateGroup ends the process: there is no polite way that a program without a window understands.
func terminateGroup(g *group) error { return killGroup(g) }

func killGroup(g *group) error {
	if g.enclosure.job == 0 {
		return g.cmd.Process.Kill()
	}
	return os.NewSyscallError("TerminateJobObject", windows.TerminateJobObject(g.enclosure.job, 1))
}

func killPID(int) {}

func detached() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{CreationFlags: windows.DETACHED_PROCESS | windows.CREATE_NEW_PROCESS_GROUP}
}

func ignoreSignals() {}

// exitOf reads a process's end.
func exitOf(state *os.ProcessState) replica.Exit { return replica.Exit{Code: state.ExitCode()} }

// Package process runs replicas as processes of the operating system: the driver of `atoll up` and
// `atoll server`.
//
// # What a process gets
//
// Its folder, exactly the environment of its spec, PORT and ATOLL_RUN (see below), an empty standard input, and a process group of
// its own. A run command of plain words is executed as it stands; one that needs a shell is given to
// /bin/sh -c. Without a fixed port the driver binds port 0, notes what it got and gives that to the process;
// in the moment between, another program may take the port: Exit.PortTaken tells, and the supervisor tries
// another.
//
// # Nothing outlives Atoll
//
// Ending a replica ends its whole group, and so does its own end. Should Atoll itself die at any instruction,
// three things see to what it started:
//
//   - on Linux the kernel kills each direct child with the thread that forked it (Pdeathsig): that thread
//     belongs to the driver and lives as long as it;
//   - the guard, a small process in a session of its own, knows every group, reads a pipe that only Atoll
//     holds open, and kills the groups when that ends;
//   - a file in the driver's folder names every process with its start time and the boot it belongs to:
//     CleanLeftovers ends what is still there when Atoll comes back. A process that merely has the same pid
//     is left alone.
//
// On Linux, what leaves its group (a daemon that calls setsid) is known by its mark: the variable ATOLL_RUN in
// its environment, which children inherit, names the driver's folder, the Atoll that started it, and the
// replica. At the end of a replica every process with its mark is killed, in Close and by the guard every one
// with the mark of the driver, and by CleanLeftovers every one with that of the folder whose Atoll runs no
// more: whatever its group, if its environment may be read, and after its start time was checked. Each time
// all processes are looked at once, and again, three times at most, while there are new ones. A daemon of a
// build is left for the next build, until Close, unless the build is cancelled. A process that is started with an environment without the
// mark, outside of its group, is not followed; nor is any that left its group on systems other than Linux.
//
// # Limits
//
// Memory and CPU are limited by a cgroup for each replica, version 2 or 1, where Atoll may make one below
// its own; else a warning (Options.Warn, and the log) says once that limits are not enforced. On systems other than Linux they never are.
//
// # Failure and backpressure
//
// Output is read line by line while the process runs; a taker that blocks makes the process wait when its
// pipe is full. After the process has ended, what a stray descendant keeps open is read for 100 ms more.
//
// On Windows a job object takes the place of group, guard and Pdeathsig: it ends with Atoll. There is no
// SIGTERM there, so Terminate ends the process at once.
package process

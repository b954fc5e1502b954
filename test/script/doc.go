// Package script holds the program's behaviour as users see it: each file in testdata is a script that runs the real
// binary, built with the race detector, on an application of its own.
//
// Beside the commands of testscript (exec, stdout, stderr, cmp, env …) scripts know those of commands_test.go. Ports
// are chosen by the system, nothing sleeps, and each script ends with nothing left: after it its applications are
// taken down, and a process of a service that is still there, or a data race in Atoll, fails it.
package script

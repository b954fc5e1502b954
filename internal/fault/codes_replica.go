package fault

// Codes of replicas: building, starting and supervising services.
const (
	CodeReplicaProgramMissing Code = "replica-program-missing" // the program of a run or build command is not there
	CodeReplicaFolderMissing  Code = "replica-folder-missing"  // the service's folder is not there
	CodeReplicaCommand        Code = "replica-command"         // a command that cannot be understood
	CodeReplicaStart          Code = "replica-start"           // the operating system refused to start the program
	CodeReplicaBuildFailed    Code = "replica-build-failed"    // the build command ended with an error
	CodeReplicaCrashed        Code = "replica-crashed"         // a process ended untold
	CodeReplicaCrashLoop      Code = "replica-crash-loop"      // it does so again and again
	CodeReplicaNotReady       Code = "replica-not-ready"       // not ready within start_limit
	CodeReplicaPortTaken      Code = "replica-port-taken"      // somebody else listens on the port
	CodeReplicaOutOfMemory    Code = "replica-out-of-memory"   // killed at its memory limit
	CodeReplicaUnknown        Code = "replica-unknown"         // no such service is running
	CodeReplicaFixedPort      Code = "replica-fixed-port"      // several replicas on one port
	CodeReplicaLimitsOff      Code = "replica-limits-off"      // limits are not enforced here
	CodeSourceWatchLimit      Code = "source-watch-limit"      // the system's limit of watches is reached
)

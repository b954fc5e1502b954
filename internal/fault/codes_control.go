package fault

// Codes of the control API and the command line.
const (
	CodeNotRunning      Code = "not-running"
	CodeAlreadyRunning  Code = "already-running"
	CodeCannotStart     Code = "cannot-start"
	CodePortInUse       Code = "port-in-use"
	CodeControlRefused  Code = "control-refused"
	CodeControlBusy     Code = "control-busy"
	CodeNoSuchOperation Code = "no-such-operation"
	CodeBadRequest      Code = "bad-request"
	CodeTraceUnknown    Code = "trace-unknown"
	CodeUsage           Code = "usage"
	CodeCodeUnknown     Code = "code-unknown"
	CodeFolderNotEmpty  Code = "folder-not-empty"
	CodeConsoleLink     Code = "console-link"
	CodeNoContract      Code = "no-contract"
	CodeConsoleOff      Code = "console-off"
)

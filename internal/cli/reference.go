package cli

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
)

// Reference is the reference of all commands in Markdown, made of the text of their --help.
func Reference() string {
	w := World{In: strings.NewReader(""), Out: io.Discard, Err: io.Discard, Version: "dev", Size: func(any) (int, int) { return 0, 0 }}
	root := newRoot(w)
	root.InitDefaultCompletionCmd()
	var b strings.Builder
	b.WriteString("# Command line\n\n<!-- Generated from the help of the commands by `make generate`. -->\n\n" + root.Long + "\n\n" +
		"Exit codes: 0 done, 1 not done, 2 a command that cannot be understood. Data go to standard output, everything else to\n" +
		"standard error. `NO_COLOR` switches colours off.\n\nFlags of every command:\n\n```\n" +
		root.PersistentFlags().FlagUsages() + "```\n")
	for _, cmd := range root.Commands() {
		if !cmd.Hidden && cmd.Name() != "help" {
			describeCommand(&b, cmd)
		}
	}
	return b.String()
}

func describeCommand(b *strings.Builder, cmd *cobra.Command) {
	fmt.Fprintf(b, "\n## %s\n\n%s.\n\n```\n%s\n```\n", cmd.CommandPath(), cmd.Short, cmd.UseLine())
	if cmd.Long != "" && cmd.Name() != "completion" {
		fmt.Fprintf(b, "\n%s\n", cmd.Long)
	}
	if cmd.Example != "" {
		fmt.Fprintf(b, "\n```\n%s\n```\n", cmd.Example)
	}
	if flags := cmd.LocalFlags().FlagUsages(); flags != "" {
		fmt.Fprintf(b, "\n```\n%s```\n", flags)
	}
	if cmd.Name() == "completion" {
		return
	}
	for _, sub := range cmd.Commands() {
		if !sub.Hidden && sub.Name() != "help" {
			describeCommand(b, sub)
		}
	}
}

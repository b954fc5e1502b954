package cli

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/atollhq/atoll/internal/manifest"
	"github.com/atollhq/atoll/internal/platform"
)

func (a *app) asyncAPICommand() *cobra.Command {
	return &cobra.Command{
		Use:   "asyncapi",
		Short: "Print an AsyncAPI 3 document of the events",
		Long: "Prints what the manifests say about events as an AsyncAPI 3.0 document in YAML: topics, who publishes and who\n" +
			"subscribes, and the JSON Schemas, all in one file. The application need not run.",
		Example: "  atoll events asyncapi > asyncapi.yaml",
		RunE: func(*cobra.Command, []string) error {
			dir, err := a.folder()
			if err != nil {
				return err
			}
			app, findings := manifest.Load(dir, &manifest.Options{Environ: a.Environ})
			if err := findings.Err(); err != nil {
				return err
			}
			text, err := platform.AsyncAPI(app)
			if err != nil {
				return err
			}
			_, err = a.Out.Write(text)
			return err
		},
	}
}

func (a *app) outboxSchemaCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "schema postgres|mysql|sqlite",
		Short: "Print the SQL of an outbox and an inbox",
		Long: "Prints the statements that make the tables of an outbox and an inbox in a service's own database, where they are\n" +
			"missing. MariaDB is mysql. The application need not run.",
		Example:   "  atoll events schema postgres | psql \"$DATABASE_URL\"",
		ValidArgs: platform.OutboxDialects(),
		Args:      cobra.MatchAll(cobra.ExactArgs(1), cobra.OnlyValidArgs),
		RunE: func(_ *cobra.Command, args []string) error {
			_, err := fmt.Fprint(a.Out, platform.OutboxSchema(args[0]))
			return err
		},
	}
}

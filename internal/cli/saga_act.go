package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/atollhq/atoll/internal/control/api"
	"github.com/atollhq/atoll/internal/control/client"
	"github.com/atollhq/atoll/internal/manifest"
)

func (a *app) sagaStartCommand() *cobra.Command {
	var key string
	var wait time.Duration
	cmd := a.withFormat(&cobra.Command{
		Use:   "start SAGA [INPUT]",
		Short: "Start an instance",
		Long: "Starts an instance with an input, which is JSON, @FILE, or - for standard input; without one it is null. It is on disk when the\n" +
			"command returns. A second start with the same --key answers with the instance that the first has started.\n" +
			"With --wait it waits for the end. The exit code is 1 if the instance has been compensated, or is parked by then.",
		Example: "  atoll saga start order-to-cash '{\"order\": \"o-1\"}' --key o-1 --wait 30s\n  atoll saga start order-to-cash @order.json",
		Args:    cobra.RangeArgs(1, 2), ValidArgsFunction: a.completeSagas,
		RunE: func(cmd *cobra.Command, args []string) error {
			s := &api.SagaStart{Input: json.RawMessage("null"), Key: key, By: a.operator()}
			if len(args) == 2 {
				input, err := a.readJSON(cmd, "the input", args[1])
				if err != nil {
					return err
				}
				s.Input = input
			}
			return a.with(cmd.Context(), func(c *client.Client) error {
				d, err := c.StartSaga(cmd.Context(), args[0], s, wait)
				if err != nil {
					return err
				}
				if err := a.sayInstance(&d, "is "+d.State); err != nil {
					return err
				}
				if d.State == api.SagaCompensated || wait > 0 && d.State == api.SagaParked {
					return errSaid
				}
				return nil
			})
		},
	})
	cmd.Flags().StringVar(&key, "key", "", "idempotency key: starts with the same one start one instance")
	cmd.Flags().DurationVar(&wait, "wait", 0, "wait so long for its end, such as 30s; at most 10m")
	return cmd
}

// readJSON reads JSON that an argument stands for.
func (a *app) readJSON(cmd *cobra.Command, what, arg string) (json.RawMessage, error) {
	data, err := a.readData(arg)
	if err != nil {
		return nil, err
	}
	if !json.Valid(data) {
		return nil, usage(cmd, "%s is not JSON", what).Fix(`write it as '{"order": "o-1"}', as @FILE, or as - for standard input`)
	}
	return data, nil
}

// sayInstance says how an instance stands now.
func (a *app) sayInstance(d *api.SagaDetail, what string) error {
	if a.json() {
		return writeJSON(a.Out, d)
	}
	text := fmt.Sprintf("%s of %s %s", d.ID, d.Saga, what)
	if d.Error != nil {
		text += " (" + strings.TrimPrefix(d.Error.Step+": ", ": ") + clean(d.Error.Text) + ")"
	}
	fmt.Fprintln(a.Out, text)
	if len(d.Output) > 0 && string(d.Output) != "null" && d.State == api.SagaCompleted {
		fmt.Fprintln(a.Out, clean(string(compact(d.Output))))
	}
	return nil
}

// actFlags are those of what people do with instances.
type actFlags struct {
	reason string
	saga   string // all of it that are found
	filter sagaFlags
	dryRun bool
	yes    bool
}

// bulk gives a command the flags that choose many instances.
func (a *app) bulk(cmd *cobra.Command, f *actFlags) {
	a.sagaFilter(cmd, &f.filter)
	flags := cmd.Flags()
	flags.StringVar(&f.saga, "saga", "", "all of this saga that the other flags find, in the place of an id")
	flags.BoolVar(&f.dryRun, "dry-run", false, "only say how many there are")
	flags.BoolVarP(&f.yes, "yes", "y", false, "do not ask")
	_ = cmd.RegisterFlagCompletionFunc("saga", func(cmd *cobra.Command, _ []string, text string) ([]string, cobra.ShellCompDirective) {
		return a.completeSagas(cmd, nil, text)
	}) // the flag is there
}

// act does one thing with one instance, or with many, and says how it stands then.
func (a *app) act(cmd *cobra.Command, args []string, f *actFlags, action *api.SagaAction, done string) error {
	action.By, action.Reason = a.operator(), f.reason
	if f.saga != "" {
		if len(args) > 0 {
			return usage(cmd, "both an id and --saga are given")
		}
		return a.actOnMany(cmd, f, action)
	}
	if len(args) == 0 {
		return usage(cmd, "it is not said which: name an id, or --saga")
	}
	if len(args) > 1 {
		action.Step = args[1]
	}
	return a.with(cmd.Context(), func(c *client.Client) error {
		d, err := c.ActOnSaga(cmd.Context(), args[0], action)
		if err != nil {
			return err
		}
		return a.sayInstance(&d, done+", and is "+d.State)
	})
}

func (a *app) actOnMany(cmd *cobra.Command, f *actFlags, action *api.SagaAction) error {
	q, err := f.filter.query(cmd, f.saga)
	if err != nil {
		return err
	}
	action.Select = q
	return a.with(cmd.Context(), func(c *client.Client) error {
		action.DryRun = true
		found, err := c.ActOnSagas(cmd.Context(), action)
		if err != nil {
			return err
		}
		if !f.dryRun && found.Found > 0 {
			if err := a.confirm(cmd, f.yes, fmt.Sprintf("%s %s of %s?", action.Action, plural(found.Found, "instance"), f.saga)); err != nil {
				return err
			}
			action.DryRun = false
			if found, err = c.ActOnSagas(cmd.Context(), action); err != nil {
				return err
			}
		}
		return a.sayActed(&found, f.dryRun)
	})
}

// sayActed says what became of many; it is an error if something was not done.
func (a *app) sayActed(r *api.SagaActed, dryRun bool) error {
	if a.json() {
		if err := writeJSON(a.Out, r); err != nil {
			return err
		}
	} else {
		switch {
		case dryRun:
			fmt.Fprintf(a.Out, "%s found\n", plural(r.Found, "instance"))
		default:
			fmt.Fprintf(a.Out, "done with %d of %s\n", r.Done, plural(r.Found, "instance"))
		}
		if r.More {
			fmt.Fprintln(a.Err, "there are more than are done at once: do it again")
		}
		for _, failure := range r.Failed {
			sayError(a.World, failure.Fault)
		}
	}
	if !dryRun && r.Done < r.Found {
		return errSaid
	}
	return nil
}

func (a *app) sagaCancelCommand() *cobra.Command {
	var f actFlags
	cmd := a.withFormat(&cobra.Command{
		Use:   "cancel [ID]",
		Short: "Compensate an instance",
		Long: "Undoes what an instance has done, in reverse. From its pivot on that is not possible any more; only a pivot that is parked\n" +
			"can still be cancelled, by which you say that it was not taken.",
		Example: "  atoll saga cancel ID --reason 'the customer has changed her mind'\n  atoll saga cancel --saga order-to-cash --state running --until 2h",
		Args:    cobra.MaximumNArgs(1), ValidArgsFunction: a.completeInstances(api.SagaRunning, api.SagaParked),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.act(cmd, args, &f, &api.SagaAction{Action: api.ActionCancel}, "is cancelled")
		},
	})
	cmd.Flags().StringVar(&f.reason, "reason", "", "why, for the history")
	a.bulk(cmd, &f)
	return cmd
}

func (a *app) sagaRetryCommand() *cobra.Command {
	var f actFlags
	cmd := a.withFormat(&cobra.Command{
		Use:   "retry [ID] [STEP]",
		Short: "Make the next attempt of a parked step now",
		Long: "Makes another attempt, by the same idempotency key, at a step that is parked or waits for its next attempt; STEP is needed\n" +
			"where several are. With --saga it does so with all that are parked.\n\n" +
			"A service that keeps its answers, as the barrier of the SDK does, gives the same refusal to the same key again. Where a step\n" +
			"was refused, atoll saga replace makes another call, by another key.",
		Example: "  atoll saga retry ID\n  atoll saga retry ID lines.3 --reason 'stock has been counted'\n  atoll saga retry --saga order-to-cash --step charge --error 503",
		Args:    cobra.MaximumNArgs(2), ValidArgsFunction: a.completeInstances(api.SagaParked),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.act(cmd, args, &f, &api.SagaAction{Action: api.ActionRetry}, "tries again")
		},
	})
	cmd.Flags().StringVar(&f.reason, "reason", "", "why, for the history")
	a.bulk(cmd, &f)
	return cmd
}

func (a *app) sagaSkipCommand() *cobra.Command {
	var f actFlags
	cmd := a.withFormat(&cobra.Command{
		Use:   "skip [ID] [STEP] --reason WHY",
		Short: "Pass over a parked step",
		Long: "Takes a parked step as done, with null as its output, or as undone where the saga is being compensated. The pivot cannot be\n" +
			"passed over.",
		Example: "  atoll saga skip ID notify --reason 'the customer was called'",
		Args:    cobra.MaximumNArgs(2), ValidArgsFunction: a.completeInstances(api.SagaParked),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.act(cmd, args, &f, &api.SagaAction{Action: api.ActionSkip}, "goes on without the step")
		},
	})
	cmd.Flags().StringVar(&f.reason, "reason", "", "why, for the history; required")
	a.bulk(cmd, &f)
	return cmd
}

func (a *app) sagaOverrideCommand() *cobra.Command {
	var f actFlags
	var output string
	cmd := a.withFormat(&cobra.Command{
		Use:   "override ID [STEP] --output JSON --reason WHY",
		Short: "Take a parked step as done, with an output of yours",
		Long: "Takes a parked step as done, with what it would have answered: later steps read it. Nothing is called. It is for a step that\n" +
			"was done by hand, and for a pivot of which you have found out that it was taken.",
		Example: "  atoll saga override ID charge --output '{\"id\": \"ch-9\"}' --reason 'the processor shows the charge'",
		Args:    cobra.RangeArgs(1, 2), ValidArgsFunction: a.completeInstances(api.SagaParked),
		RunE: func(cmd *cobra.Command, args []string) error {
			if output == "" {
				return usage(cmd, "it is not said what the step has answered").Fix("add --output JSON; null where there is nothing to say")
			}
			data, err := a.readJSON(cmd, "the output", output)
			if err != nil {
				return err
			}
			return a.act(cmd, args, &f, &api.SagaAction{Action: api.ActionOverride, Output: data}, "goes on with the output")
		},
	})
	cmd.Flags().StringVar(&output, "output", "", "what the step answers: JSON, @FILE, or - for standard input; required")
	cmd.Flags().StringVar(&f.reason, "reason", "", "why, for the history; required")
	return cmd
}

func (a *app) sagaReplaceCommand() *cobra.Command {
	var f actFlags
	var call, body string
	var headers []string
	cmd := a.withFormat(&cobra.Command{
		Use:   "replace ID [STEP] --call 'METHOD service/path' --body JSON --reason WHY",
		Short: "Make another call in the place of a parked step's",
		Long: "Makes another call for a parked step: to another path or service, or with another body. It goes out by an idempotency key of\n" +
			"its own, INSTANCE/STEP/do/alt1, then alt2 and so on, so that it is the way on where a service has refused the step: a service\n" +
			"that keeps its answers, as the barrier of the SDK does, gives the same refusal to the same key for ever. Its answer is taken\n" +
			"as the step's. Without a body none is sent.",
		Example: "  atoll saga replace ID ship --call 'POST shipping/shipments' --body '{\"order\": \"o-1\", \"carrier\": \"other\"}' \\\n    --reason 'the first carrier does not go there'",
		Args:    cobra.RangeArgs(1, 2), ValidArgsFunction: a.completeInstances(api.SagaParked),
		RunE: func(cmd *cobra.Command, args []string) error {
			method, service, path, ok := manifest.ParseSagaCall(call)
			if !ok {
				return usage(cmd, "--call %q is no call", call).Fix("write it as 'POST billing/charges'")
			}
			r := &api.SagaRequest{Service: service, Method: method, Path: path}
			if body != "" {
				data, err := a.readJSON(cmd, "the body", body)
				if err != nil {
					return err
				}
				r.Body = data
			}
			for _, h := range headers {
				name, value, ok := strings.Cut(h, ":")
				if !ok {
					return usage(cmd, "--header %q is none", h).Fix("write it as 'Name: value'")
				}
				if r.Headers == nil {
					r.Headers = map[string]string{}
				}
				r.Headers[strings.TrimSpace(name)] = strings.TrimSpace(value)
			}
			return a.act(cmd, args, &f, &api.SagaAction{Action: api.ActionReplace, Request: r}, "makes the other call")
		},
	})
	flags := cmd.Flags()
	flags.StringVar(&call, "call", "", "the call: METHOD service/path; required")
	flags.StringVar(&body, "body", "", "its body: JSON, @FILE, or - for standard input")
	flags.StringArrayVar(&headers, "header", nil, "a further header: 'Name: value'")
	flags.StringVar(&f.reason, "reason", "", "why, for the history; required")
	return cmd
}

func (a *app) sagaMigrateCommand() *cobra.Command {
	var saga, version, reason string
	var steps map[string]string
	var dryRun, yes bool
	cmd := a.withFormat(&cobra.Command{
		Use:   "migrate [ID] --reason WHY",
		Short: "Make instances ones of the version in force",
		Long: "An instance goes on with the definition that it began with. This makes it one of the definition in force: what it has done\n" +
			"stays, and what is to come is as the new one has it. It is refused where that makes no sense: where a step that has begun is\n" +
			"gone, has another kind or stands on another side of the pivot, or where a new step would have had to come before it. A step\n" +
			"that was renamed is named by --map. With --saga all of it that have not ended are migrated, or those of --version.\n" +
			"--dry-run says of each what forbids it, and does nothing.",
		Example: "  atoll saga migrate --saga order-to-cash --dry-run\n  atoll saga migrate ID --map bill=invoice --reason 'the new version books the revenue'",
		Args:    cobra.MaximumNArgs(1), ValidArgsFunction: a.completeInstances(api.SagaRunning, api.SagaParked),
		RunE: func(cmd *cobra.Command, args []string) error {
			if (len(args) == 0) == (saga == "") {
				return usage(cmd, "it is not said which: name either an id, or --saga")
			}
			m := &api.SagaMigration{ID: strings.Join(args, ""), Saga: saga, Version: version, Steps: steps, By: a.operator(), Reason: reason, DryRun: dryRun}
			return a.migrate(cmd, m, yes)
		},
	})
	flags := cmd.Flags()
	flags.StringVar(&saga, "saga", "", "all instances of this saga that have not ended")
	flags.StringVar(&version, "version", "", "of these, those of this version")
	flags.StringToStringVar(&steps, "map", nil, "OLD=NEW: what a step is called in the version in force")
	flags.BoolVar(&dryRun, "dry-run", false, "only say which can be migrated")
	flags.StringVar(&reason, "reason", "", "why, for the history; required, but for --dry-run")
	flags.BoolVarP(&yes, "yes", "y", false, "do not ask")
	return cmd
}

func (a *app) migrate(cmd *cobra.Command, m *api.SagaMigration, yes bool) error {
	return a.with(cmd.Context(), func(c *client.Client) error {
		if m.Saga != "" && !m.DryRun && m.Reason != "" {
			if err := a.confirmMigration(cmd, c, m, yes); err != nil {
				return err
			}
		}
		done, err := c.MigrateSagas(cmd.Context(), m)
		if err != nil {
			return err
		}
		return a.sayMigrated(&done, m)
	})
}

// confirmMigration asks whether many are to be migrated, with what would become of them.
func (a *app) confirmMigration(cmd *cobra.Command, c *client.Client, m *api.SagaMigration, yes bool) error {
	trial := *m
	trial.DryRun = true
	would, err := c.MigrateSagas(context.WithoutCancel(cmd.Context()), &trial)
	if err != nil {
		return err
	}
	can := 0
	for i := range would.Instances {
		if would.Instances[i].Fault == nil {
			can++
		}
	}
	if can == 0 {
		return nil // what forbids it is said by the migration itself
	}
	return a.confirm(cmd, yes, fmt.Sprintf("migrate %d of %s of %s to version %s?", can, plural(len(would.Instances), "instance"), m.Saga, would.Version))
}

// sayMigrated says of each instance what became of it; it is an error if one was not migrated.
func (a *app) sayMigrated(r *api.SagaMigrated, m *api.SagaMigration) error {
	refused := 0
	p := paint(a.color(a.Out))
	for i := range r.Instances {
		x := &r.Instances[i]
		if x.Fault != nil {
			refused++
		}
		switch {
		case a.json():
		case x.Fault == nil && m.DryRun:
			fmt.Fprintf(a.Out, "%s %s can go from version %s to %s\n", p.green("✓"), x.ID, x.From, r.Version)
		case x.Fault == nil:
			fmt.Fprintf(a.Out, "%s %s has gone from version %s to %s\n", p.green("✓"), x.ID, x.From, r.Version)
		default:
			fmt.Fprintf(a.Out, "%s %s stays at version %s: %s\n", p.red("✗"), x.ID, x.From, clean(x.Fault.Text))
			fmt.Fprintf(a.Out, "  %s %s\n", p.green("="), clean(x.Fault.Remedy))
		}
	}
	if a.json() {
		if err := writeJSON(a.Out, r); err != nil {
			return err
		}
	} else if len(r.Instances) == 0 {
		fmt.Fprintf(a.Out, "all instances are of version %s already\n", r.Version)
	}
	if r.More {
		fmt.Fprintln(a.Err, "there are more than are done at once: do it again")
	}
	if refused > 0 {
		return errSaid
	}
	return nil
}

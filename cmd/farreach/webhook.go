package main

import (
	"cmp"
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/farreach/farreach/cmd/farreach/internal/apiclient"
)

type webhooksDoc struct {
	Schema   string              `json:"schema"`
	Webhooks []apiclient.Webhook `json:"webhooks"`
}

type webhookDoc struct {
	Schema string `json:"schema"`
	apiclient.Webhook
	Secret string `json:"secret,omitempty"` // only of one that was just made
}

func (a *app) webhookCmd() *cobra.Command {
	return a.parent(&cobra.Command{
		Use:   "webhook",
		Short: "Manage the programs that answer devices, and that rules tell when they fire",
		Long: `A device asks for a service of its owner by a POST to /svc/NAME of the server: the
webhook of that name answers, by HTTP, with JSON. A rule with "webhook: NAME" tells
it what fired: that is kept until the webhook has taken it, in order, for a day at
most. Requests are signed as Standard Webhooks says. Only addresses of the internet
are asked, and redirects are not followed.`,
		Example: `  farreach webhook add pager https://example.org/farreach
  farreach webhook test pager
  farreach webhook deliveries pager --state waiting
  farreach webhook retry pager`,
		GroupID: groupAutomate,
	}, a.webhookAddCmd(), a.webhookLsCmd(), a.webhookShowCmd(), a.webhookTestCmd(), a.webhookDeliveriesCmd(), a.webhookWhyCmd(),
		a.webhookRetryCmd(), a.silent(a.webhookRmCmd()))
}

func (a *app) webhookAddCmd() *cobra.Command {
	return a.overAPI(&cobra.Command{
		Use:   "add NAME URL",
		Short: "Register a program, and show the secret with which requests to it are signed",
		Long: `Registers a program at a URL. Where the server keeps its data on NATS servers, it may
also be at a subject there: nats:WORD for farreach-service.ACCOUNT.WORD.`,
		Example: `  farreach webhook add diagnosis https://example.org/farreach
  farreach webhook add diagnosis nats:diagnosis`,
		Args: takes("the name of the service", "the URL of the program"),
	}, func(ctx context.Context, api *apiclient.Client, args []string) error {
		made, err := api.AddWebhook(ctx, args[0], args[1])
		if err != nil {
			return err
		}
		if a.json {
			return a.screen().Doc(webhookDoc{"farreach.webhook/v1", made.Webhook, made.Secret.Reveal()})
		}
		return a.screen().Line(made.Secret.Reveal())
	})
}

func (a *app) webhookLsCmd() *cobra.Command {
	return a.overAPI(&cobra.Command{
		Use:     "ls",
		Aliases: []string{"list"},
		Short:   "List the webhooks of your account",
		Args:    takes(),
	}, func(ctx context.Context, api *apiclient.Client, _ []string) error {
		list, err := api.Webhooks(ctx)
		if err != nil {
			return err
		}
		if a.json {
			return a.screen().Doc(webhooksDoc{"farreach.webhooks/v1", append([]apiclient.Webhook{}, list...)})
		}
		rows := make([][]any, len(list))
		for i, w := range list {
			state := cmp.Or(w.State, &apiclient.WebhookState{}) // a server may leave it out
			rows[i] = []any{w.Name, w.URL, w.Created, state.Waiting, state.Problem}
		}
		return a.screen().Table([]string{"name", "url", "created", "waiting", "problem"}, rows)
	})
}

func (a *app) webhookTestCmd() *cobra.Command {
	cmd := a.overAPI(&cobra.Command{
		Use:     "test NAME",
		Short:   "Ask a webhook as if a device did, and show what it answers",
		Example: `  farreach webhook test diagnosis`,
		Args:    takes("the name of a webhook"),
	}, func(ctx context.Context, api *apiclient.Client, args []string) error {
		answer, err := api.TryWebhook(ctx, args[0])
		if err != nil {
			return err
		}
		if a.json {
			return a.screen().Doc(answer)
		}
		if answer.Status/100 != 2 {
			return fail(exitPeerFailed, "", "%s answered %d", args[0], answer.Status)
		}
		a.say("%d %s", answer.Status, answer.Type)
		return a.screen().Value([]byte(answer.Body))
	})
	cmd.ValidArgsFunction = a.completeWebhook
	return cmd
}

func (a *app) webhookRmCmd() *cobra.Command {
	var yes bool
	cmd := &cobra.Command{
		Use:               "rm NAME",
		Aliases:           []string{"remove"},
		Short:             "Remove a webhook, what waits for it, and what is known of its deliveries",
		Example:           `  farreach webhook rm diagnosis --yes`,
		Args:              takes("the name of a webhook"),
		ValidArgsFunction: a.completeWebhook,
	}
	cmd.Flags().BoolVar(&yes, "yes", false, "do not ask")
	return a.overAPI(cmd, func(ctx context.Context, api *apiclient.Client, args []string) error {
		if !yes && !a.confirm("remove webhook "+args[0]+" and what waits for it?") {
			return misuse("farreach webhook rm "+shellWord(args[0])+" --yes", "nobody said yes")
		}
		if err := api.RemoveWebhook(ctx, args[0]); err != nil {
			return fmt.Errorf("%s: %w", args[0], err)
		}
		return nil
	})
}

// completeWebhook completes the name of a webhook.
func (a *app) completeWebhook(cmd *cobra.Command, args []string, _ string) (names []string, _ cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	a.completing(cmd, func(ctx context.Context, api *apiclient.Client) {
		list, _ := api.Webhooks(ctx) // none: nothing to offer
		for _, w := range list {
			names = append(names, w.Name)
		}
	})
	return names, cobra.ShellCompDirectiveNoFileComp
}

package main

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/farreach/farreach/cmd/farreach/internal/apiclient"
)

type deliveriesDoc struct {
	Schema     string               `json:"schema"`
	Deliveries []apiclient.Delivery `json:"deliveries"`
}

// deliveryStates are the states of a delivery, for completion and for --state.
var deliveryStates = []string{"waiting", "delivered", "given-up"}

// mostDeliveries is what the server has of one webhook, waiting and ended.
const mostDeliveries = 2000

func (a *app) webhookDeliveriesCmd() *cobra.Command {
	var state string
	limit := 20
	cmd := &cobra.Command{
		Use:   "deliveries NAME",
		Short: "Show what a webhook was told or is to be told: the newest change first",
		Long: `What a rule tells a webhook waits until the webhook has answered with a status of
success. It is tried again and again, for a day; of more than 1,000 that wait the
oldest are given up.`,
		Example: `  farreach webhook deliveries pager
  farreach webhook deliveries pager --state given-up --json`,
		Args:              takes("the name of a webhook"),
		ValidArgsFunction: a.completeWebhook,
	}
	cmd.Flags().StringVar(&state, "state", "", "only those in this state: "+strings.Join(deliveryStates, ", "))
	cmd.Flags().IntVar(&limit, "limit", limit, "at most `N`, 2,000 at most")
	completes(cmd, "state", deliveryStates...)
	return a.overAPI(cmd, func(ctx context.Context, api *apiclient.Client, args []string) error {
		if state != "" && !slices.Contains(deliveryStates, state) {
			return misuse("--state waiting", "--state %q is none of %s", state, strings.Join(deliveryStates, ", "))
		}
		if limit < 1 || limit > mostDeliveries {
			return misuse("--limit 20", "--limit %d is not from 1 to %d", limit, mostDeliveries)
		}
		list, err := api.Deliveries(ctx, args[0], state, limit)
		if err != nil {
			return fmt.Errorf("%s: %w", args[0], err)
		}
		if a.json {
			return a.screen().Doc(deliveriesDoc{"farreach.deliveries/v1", append([]apiclient.Delivery{}, list...)})
		}
		rows := make([][]any, len(list))
		for i := range list {
			rows[i] = a.deliveryRow(&list[i])
		}
		return a.screen().Table([]string{"made", "id", "state", "attempts", "result"}, rows)
	})
}

// deliveryRow is a delivery in a table. On a terminal its id is the part that is
// its own.
func (a *app) deliveryRow(d *apiclient.Delivery) []any {
	var made any = d.Made
	id := d.ID
	if a.terminal {
		made = clock(d.Made)
		id = id[strings.LastIndexByte(id, '-')+1:]
	}
	return []any{made, id, d.State, d.Attempts, deliveryText(d)}
}

// deliveryText is what came of it: "200 after 3 s".
func deliveryText(d *apiclient.Delivery) string {
	if d.State == "delivered" {
		return fmt.Sprintf("%d after %v", d.Status, d.Ended.Sub(d.Made).Round(100*time.Millisecond))
	}
	text := d.Problem
	if !d.Next.IsZero() {
		text += ", again at " + clock(d.Next)
	}
	return text
}

func (a *app) webhookShowCmd() *cobra.Command {
	return a.overDelivery(&cobra.Command{
		Use:   "show NAME [ID]",
		Short: "Show a webhook, or one of its deliveries with what it says",
		Long:  "Shows how a webhook does, or all that is known of one delivery. ID may be the end of one that is in the list.",
		Example: `  farreach webhook show pager
  farreach webhook show pager 0a94d9a3c1f2 --json`,
	}, func(ctx context.Context, api *apiclient.Client, name, id string) error {
		if id == "" {
			w, err := api.Webhook(ctx, name)
			if err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			return a.showWebhook(&w)
		}
		d, err := api.Delivery(ctx, name, id)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		return a.showDelivery(&d)
	})
}

func (a *app) webhookWhyCmd() *cobra.Command {
	cmd := a.overDelivery(&cobra.Command{
		Use:   "why NAME ID",
		Short: "Tell what led to a delivery",
		Long: `Tells the way back from what a webhook was told, as farreach why does from a state: the
rule, the event on which it fired, the command before that, and so on.`,
		Example: `  farreach webhook why pager 0a94d9a3c1f2`,
	}, func(ctx context.Context, api *apiclient.Client, name, id string) error {
		w, err := api.WhyDelivery(ctx, name, id)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		return a.showWhy(&w)
	})
	cmd.Args = takes("the name of a webhook", "the id of a delivery; farreach webhook deliveries has it")
	return cmd
}

func (a *app) webhookRetryCmd() *cobra.Command {
	return a.overDelivery(&cobra.Command{
		Use:   "retry NAME [ID]",
		Short: "Try at once what waits for a webhook, or tell it again what was delivered or given up",
		Long: `Without an ID what waits is tried now, and not when its turn would be. What was
delivered or given up is told again behind what waits, with the same webhook-id.`,
		Example: `  farreach webhook retry pager
  farreach webhook retry pager 0a94d9a3c1f2`,
	}, func(ctx context.Context, api *apiclient.Client, name, id string) error {
		if id == "" {
			err := api.RetryWebhook(ctx, name)
			if err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			if !a.json {
				return nil
			}
			w, err := api.Webhook(ctx, name)
			if err != nil {
				return err
			}
			return a.showWebhook(&w)
		}
		d, err := api.RetryDelivery(ctx, name, id)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		if a.json {
			return a.screen().Doc(d)
		}
		return nil
	})
}

// overDelivery makes cmd a command that does f with a webhook, and with the id
// of one of its deliveries if there is a second argument.
func (a *app) overDelivery(cmd *cobra.Command, f func(ctx context.Context, api *apiclient.Client, name, id string) error) *cobra.Command {
	cmd.Args = takesUpTo(2, "the name of a webhook")
	cmd.ValidArgsFunction = a.completeDelivery
	return a.overAPI(cmd, func(ctx context.Context, api *apiclient.Client, args []string) error {
		if len(args) == 1 {
			return f(ctx, api, args[0], "")
		}
		id, err := wholeDelivery(ctx, api, args[0], args[1])
		if err != nil {
			return err
		}
		return f(ctx, api, args[0], id)
	})
}

// wholeDelivery returns the id of which the user gave the end.
func wholeDelivery(ctx context.Context, api *apiclient.Client, name, end string) (string, error) {
	if len(end) >= idLen {
		return end, nil
	}
	list, err := api.Deliveries(ctx, name, "", mostDeliveries)
	if err != nil {
		return "", fmt.Errorf("%s: %w", name, err)
	}
	var found []string
	for _, d := range list {
		if strings.HasSuffix(d.ID, strings.ToLower(end)) {
			found = append(found, d.ID)
		}
	}
	switch {
	case end == "" || len(found) == 0:
		return "", fail(exitNotFound, "farreach webhook deliveries "+shellWord(name), "no delivery %s", end)
	case len(found) > 1:
		return "", misuse("more of the id", "%d deliveries end in %s", len(found), end)
	}
	return found[0], nil
}

// completeDelivery completes the name of a webhook, and then the id of one of
// its deliveries.
func (a *app) completeDelivery(cmd *cobra.Command, args []string, typed string) (ids []string, _ cobra.ShellCompDirective) {
	if len(args) != 1 {
		return a.completeWebhook(cmd, args, typed)
	}
	a.completing(cmd, func(ctx context.Context, api *apiclient.Client) {
		list, _ := api.Deliveries(ctx, args[0], "", 20) // none: nothing to offer
		for i := range list {
			ids = append(ids, list[i].ID+"\t"+list[i].State+" "+deliveryText(&list[i]))
		}
	})
	return ids, cobra.ShellCompDirectiveNoFileComp
}

// showWebhook writes all that is known of a webhook.
func (a *app) showWebhook(w *apiclient.Webhook) error {
	if a.json {
		return a.screen().Doc(webhookDoc{Schema: "farreach.webhook/v1", Webhook: *w})
	}
	s := w.State
	rows := [][]any{
		{"name", w.Name}, {"url", w.URL}, {"created", w.Created}, {"waiting", s.Waiting}, {"delivered", s.Delivered}, {"given up", s.GivenUp},
	}
	if !s.Tried.IsZero() {
		rows = append(rows, []any{"tried", s.Tried}, []any{"result", cmp.Or(s.Problem, "taken")})
	}
	if !s.Next.IsZero() {
		rows = append(rows, []any{"next", s.Next})
	}
	return a.screen().Table([]string{"field", "value"}, rows)
}

// showDelivery writes all that is known of a delivery.
func (a *app) showDelivery(d *apiclient.Delivery) error {
	if a.json {
		return a.screen().Doc(d)
	}
	rows := [][]any{{"id", d.ID}, {"webhook", d.Webhook}, {"state", d.State}, {"attempts", d.Attempts}}
	if d.Status != 0 {
		rows = append(rows, []any{"status", strconv.Itoa(d.Status)})
	}
	if d.Problem != "" {
		rows = append(rows, []any{"problem", d.Problem})
	}
	for _, one := range []struct {
		name string
		time time.Time
	}{{"made", d.Made}, {"tried", d.Tried}, {"next", d.Next}, {"ended", d.Ended}} {
		if !one.time.IsZero() {
			rows = append(rows, []any{one.name, one.time})
		}
	}
	return a.screen().Table([]string{"field", "value"}, append(rows, []any{"body", d.Body}))
}

package api

import (
	"context"
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/farreach/farreach/cloud/command"
	"github.com/farreach/farreach/oic"
)

// Commands is a part of the commands to the account's devices, the newest
// first.
type Commands struct {
	Schema   string    `json:"schema" enum:"farreach.commands/v1"`
	Commands []Command `json:"commands"`
	Next     string    `json:"next,omitempty" doc:"cursor of the next page, with older ones"`
}

// Command is what was asked of a device, by whom, and what came of it.
type Command struct {
	Schema  string          `json:"schema" enum:"farreach.command/v1"`
	ID      string          `json:"id"`
	Device  string          `json:"di"`
	Name    string          `json:"name,omitempty" doc:"of the device"`
	Op      string          `json:"op" enum:"create,update,replace,delete"`
	Href    string          `json:"href"`
	Rep     json.RawMessage `json:"rep" doc:"what was sent; null if there is none, it was too long to be kept, or it cannot be shown as JSON"`
	Size    int             `json:"size" doc:"bytes of what was sent"`
	By      Asker           `json:"by"`
	State   string          `json:"state" enum:"queued,sent,done,refused,failed,expired,cancelled,unknown"`
	Made    time.Time       `json:"made"`
	Expires time.Time       `json:"expires,omitzero" required:"false" doc:"when it is given up if the device is not back"`
	Sent    time.Time       `json:"sent,omitzero" required:"false"`
	Ended   time.Time       `json:"ended,omitzero" required:"false"`
	Status  string          `json:"status,omitempty" example:"2.04" doc:"what the device answered"`
	Answer  json.RawMessage `json:"answer" doc:"with that; null as rep"`
	Why     string          `json:"why,omitempty" doc:"the device's diagnostic, or why there was no answer"`
}

// Asker is who asked.
type Asker struct {
	Account  string    `json:"account"`
	Kind     string    `json:"kind" example:"token" doc:"by what: token, session, password, login, device, rule, server"`
	ID       string    `json:"id,omitempty" doc:"of that"`
	Name     string    `json:"name,omitempty" doc:"of that, at that time"`
	Revision uint64    `json:"revision,omitempty" doc:"of a rule"`
	Event    uint64    `json:"event,omitempty" doc:"seq of the event on which a rule fired"`
	At       time.Time `json:"at,omitzero" required:"false" doc:"time of the event, or when a rule was due"`
	Hops     int       `json:"hops,omitempty" doc:"how many commands of rules led to the event"`
}

// commandsInput selects commands.
type commandsInput struct {
	Device string    `query:"device" maxLength:"64" doc:"only to this device: its di"`
	State  string    `query:"state" enum:"queued,sent,done,refused,failed,expired,cancelled,unknown" doc:"only those in this state"`
	Since  time.Time `query:"since" doc:"only those made at this time or later"`
	PageInput
}

// commandStreamInput selects the commands of a stream.
type commandStreamInput struct {
	Device string `query:"device" maxLength:"64" doc:"only to this device: its di"`
	LastID uint64 `header:"Last-Event-ID" doc:"go on after this id"`
}

// commandInput is a path with a command in it.
type commandInput struct {
	ID string `path:"id" maxLength:"64" doc:"the command's id"`
}

func (h *Handler) commandRoutes() {
	const path = "/api/v1/commands"
	huma.Register(h.huma, operation(http.MethodGet, path, "list-commands",
		"List what was asked of the account's devices, the newest first", "commands", 200, 400, 403, 404, 503), h.listCommands)
	huma.Register(h.huma, operation(http.MethodGet, path+"/{id}", "get-command", "Get one command", "commands", 200, 403, 404, 503),
		func(ctx context.Context, in *commandInput) (*body[Command], error) {
			who := asker(ctx)
			cmd, err := h.cloud.Command(ctx, who, in.ID)
			if err != nil {
				return nil, h.problem(err)
			}
			return &body[Command]{h.command(cmd, h.names(ctx, who)(cmd.Device))}, nil
		})
	huma.Register(h.huma, operation(http.MethodDelete, path+"/{id}", "cancel-command",
		"Take back a command that waits for its device", "commands", 200, 403, 404, 409, 503),
		func(ctx context.Context, in *commandInput) (*body[Command], error) {
			who := asker(ctx)
			cmd, err := h.cloud.CancelCommand(ctx, who, in.ID)
			if err != nil {
				return nil, h.problem(err)
			}
			return &body[Command]{h.command(cmd, h.names(ctx, who)(cmd.Device))}, nil
		})
	stream := operation(http.MethodGet, path+"/stream", "stream-commands", "Follow the commands to the account's devices", "commands", 200, 403, 404, 503)
	stream.Responses = streamed("text/event-stream", "Server-sent events, one for each change of a command, with a Command as data. One of type end (farreach.end/v1) says why the server ends the stream.")
	huma.Register(h.huma, stream, func(_ context.Context, in *commandStreamInput) (*huma.StreamResponse, error) {
		return &huma.StreamResponse{Body: func(ctx huma.Context) { h.followCommands(ctx, asker(ctx.Context()), in) }}, nil
	})
	h.whyRoute()
}

// followCommands follows commands until the client or the server goes.
func (h *Handler) followCommands(hc huma.Context, who oic.Identity, in *commandStreamInput) {
	if err := h.known(hc.Context(), who, strings.ToLower(in.Device)); err != nil {
		h.refuse(hc, err)
		return
	}
	h.followed(hc, who, func(ctx context.Context, begun func(), tell func(item) error) error {
		name := h.names(ctx, who)
		return h.cloud.FollowCommands(ctx, who, strings.ToLower(in.Device), in.LastID, begun, func(seq uint64, cmd command.Command) error {
			return tell(item{strconv.FormatUint(seq, 10), h.command(cmd, name(cmd.Device))})
		})
	})
}

func (h *Handler) listCommands(ctx context.Context, in *commandsInput) (*paged[Commands], error) {
	before, err := in.after()
	if err != nil {
		return nil, err
	}
	who, limit := asker(ctx), in.limit(100)
	list, err := h.cloud.Commands(ctx, who, command.Filter{
		Device: strings.ToLower(in.Device), State: command.State(in.State), Since: in.Since, Before: before, Limit: limit,
	})
	if err != nil {
		return nil, h.problem(err)
	}
	if err := h.heardOf(ctx, who, strings.ToLower(in.Device), len(list)); err != nil {
		return nil, err
	}
	name := h.names(ctx, who)
	out := Commands{Schema: "farreach.commands/v1", Commands: make([]Command, len(list))}
	for i, cmd := range list {
		out.Commands[i] = h.command(cmd, name(cmd.Device))
	}
	if len(list) == limit {
		out.Next = cursor(list[limit-1].ID)
	}
	return onePage(ctx, out, out.Next), nil
}

// command is a command as JSON; name is that of the device.
func (h *Handler) command(c command.Command, name string) Command {
	out := Command{
		Schema: "farreach.command/v1", ID: c.ID, Device: c.Device, Name: name, Op: c.Op.String(), Href: c.Href, Size: c.Size,
		By:    Asker{Account: c.By.Account, Kind: c.By.Kind, ID: c.By.ID, Name: c.By.Name},
		State: string(c.State), Made: c.Made.UTC(), Expires: c.Expires.UTC(), Sent: c.Sent.UTC(), Ended: c.Ended.UTC(), Why: c.Why,
	}
	out.Rep, _, _ = shown(c.Format, c.Body)
	out.Answer, _, _ = shown(c.AnswerFormat, c.Answer)
	if c.Status != 0 {
		out.Status, _, _ = strings.Cut(c.Status.String(), " ")
	}
	if cause := c.By.Cause; cause != nil {
		out.By.Revision, out.By.Event, out.By.At, out.By.Hops = cause.Revision, cause.Event, cause.At.UTC(), cause.Hops
	}
	return out
}

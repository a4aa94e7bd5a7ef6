package api

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"mime"
	"net/http"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/farreach/farreach/cloud"
	"github.com/farreach/farreach/cloud/command"
	"github.com/farreach/farreach/cloud/event"
	"github.com/farreach/farreach/oic"
)

// A resource of a device lies behind the device, by its href:
//
//	GET    …/devices/{di}/resources/a/light?if=oic.if.baseline ──▶ the device
//	GET    …/a/light?cached                                    ──▶ the last event of it, and nobody is asked
//	GET    …/a/light?observe                                   ──▶ server-sent events
//	PUT, POST, DELETE …/a/light?queue=1h                       ──▶ the device, now or when it is back
//
// What a device takes and says is CBOR, and becomes JSON here and nowhere else.

const (
	resourcePath = "/api/v1/devices/{di}/resources/{href}"
	longestWait  = 55 * time.Second // for a device; within answerTime
	usualWait    = 10 * time.Second
)

// Resource is what a device said of one of its resources.
type Resource struct {
	Schema   string          `json:"schema" enum:"farreach.resource/v1"`
	Device   string          `json:"di"`
	Href     string          `json:"href" example:"/a/light"`
	Time     time.Time       `json:"time" doc:"when the device said it"`
	Seq      uint64          `json:"seq,omitempty" doc:"of the event, of a cached one"`
	Age      float64         `json:"age_s" doc:"seconds since time"`
	Status   string          `json:"status" example:"2.05" doc:"the device's code"`
	Rep      json.RawMessage `json:"rep" doc:"the representation; null if there is none, or if it cannot be shown as JSON"`
	Format   string          `json:"format,omitempty" doc:"of raw: a media type"`
	Raw      []byte          `json:"raw,omitempty" doc:"what came, if rep cannot show it"`
	Location string          `json:"location,omitempty" doc:"href of the resource that was made"`
	Command  string          `json:"command,omitempty" doc:"id of the command, if it was one"`
}

// ResourceInput is a path with a resource in it. Exported as PageInput is. The query is the device's, but
// for what is ours.
type ResourceInput struct {
	Device  string `path:"di" maxLength:"64" doc:"the device's id"`
	Href    string `path:"href" example:"a/light" doc:"the resource's href; its slashes may stand as they are"`
	If      string `query:"if" example:"oic.if.baseline" doc:"interface; like any other parameter that is not named here, it is for the device"`
	Timeout string `query:"timeout" example:"5s" doc:"how long to wait for the device: 10s, or up to 55s"`
	url     url.URL
	request huma.Context
}

// Resolve keeps the request as it came.
func (in *ResourceInput) Resolve(ctx huma.Context) []error {
	in.url, in.request = ctx.URL(), ctx
	return nil
}

// getResource is a ResourceInput that reads.
type getResource struct {
	ResourceInput
	Cached  string `query:"cached" example:"true" doc:"what the device reported last; it is not asked"`
	Observe string `query:"observe" example:"true" doc:"what it is and every change of it, as server-sent events"`
}

// setResource is a ResourceInput that changes. The body is read when it is known
// who sends it.
type setResource struct {
	ResourceInput
	Queue string `query:"queue" example:"1h" doc:"if the device is away, keep the command for as long, an hour at most"`
}

// resourceRoutes are the ways to the resources of devices. The path of a
// resource has any number of segments, which OpenAPI cannot say.
func (h *Handler) resourceRoutes() {
	route := func(method, id, summary string, errors ...int) huma.Operation {
		op := operation(method, strings.Replace(resourcePath, "{href}", "{href...}", 1), id, summary, "resources", 200, errors...)
		op.SkipValidateParams = true // the device knows others
		return op
	}
	get := route(http.MethodGet, "get-resource", "Read a resource of a device, or follow it", 400, 403, 404, 502, 503, 504)
	get.Responses = map[string]*huma.Response{"200": {
		Description: "What the device said; with observe, server-sent events, each with such a document as data. An event of type end says why the server ends the stream.",
		Content: map[string]*huma.MediaType{
			"application/json":  {Schema: schemaOf[Resource](h)},
			"text/event-stream": {Schema: &huma.Schema{Type: "string"}},
		},
	}}
	huma.Register(h.huma, get, h.getResource)
	answers := map[string]*huma.Response{
		"200": {Description: "What the device answered", Content: jsonOf[Resource](h)},
		"201": {Description: "The device has made a resource", Content: jsonOf[Resource](h)},
		"202": {Description: "The device is away; the command waits for it", Content: jsonOf[Command](h)},
	}
	change := func(method, id, summary string, of oic.Op) {
		op := route(method, id, summary, 400, 403, 404, 413, 415, 502, 503, 504)
		op.Responses = maps.Clone(answers)
		huma.Register(h.huma, op, func(ctx context.Context, in *setResource) (*changed, error) {
			return h.setResource(ctx, of, in)
		})
	}
	change(http.MethodPut, "replace-resource", "Replace a representation as a whole", oic.Replace)
	change(http.MethodPost, "update-resource", "Change properties of a resource, or make one with if=oic.if.create", oic.Update)
	change(http.MethodDelete, "delete-resource", "Remove a resource", oic.Delete)
	paths := h.huma.OpenAPI().Paths
	wild := strings.Replace(resourcePath, "{href}", "{href...}", 1)
	paths[resourcePath] = paths[wild]
	delete(paths, wild)
	representation := &huma.RequestBody{Content: map[string]*huma.MediaType{
		"application/json": {Schema: &huma.Schema{Description: "the representation, or a part of it"}},
	}}
	paths[resourcePath].Put.RequestBody, paths[resourcePath].Post.RequestBody = representation, representation
}

// schemaOf is T as the OpenAPI document describes it.
func schemaOf[T any](h *Handler) *huma.Schema {
	return h.huma.OpenAPI().Components.Schemas.Schema(reflect.TypeFor[T](), true, "")
}

func jsonOf[T any](h *Handler) map[string]*huma.MediaType {
	return map[string]*huma.MediaType{"application/json": {Schema: schemaOf[T](h)}}
}

// href is the resource that a request is about, as the device knows it: with
// the query, but for what is ours.
func (in *ResourceInput) href(ours ...string) string {
	_, path, _ := strings.Cut(in.url.EscapedPath(), "/resources/")
	if strings.Contains(path, "%2") {
		path = strings.NewReplacer("%2F", "/", "%2f", "/").Replace(path)
	}
	href := "/" + strings.TrimPrefix(path, "/")
	separator := "?"
	for pair := range strings.SplitSeq(in.url.RawQuery, "&") {
		name, _, _ := strings.Cut(pair, "=")
		if pair == "" || name == "timeout" || slices.Contains(ours, name) {
			continue
		}
		href += separator + pair
		separator = "&"
	}
	return href
}

// duration reads a parameter; without one it is usual.
func duration(name, text string, usual, most time.Duration) (time.Duration, error) {
	if text == "" {
		return usual, nil
	}
	d, err := time.ParseDuration(text)
	if err != nil || d <= 0 || d > most {
		return 0, newProblem(http.StatusBadRequest, fmt.Sprintf("%s: a time up to %v, as 30s", name, most))
	}
	return d, nil
}

// wants reports whether a parameter that is there or not is there.
func wants(query url.Values, name string) bool {
	return query.Has(name) && query.Get(name) != "false" && query.Get(name) != "0"
}

func (h *Handler) getResource(ctx context.Context, in *getResource) (*huma.StreamResponse, error) {
	who, di := asker(ctx), strings.ToLower(in.Device)
	query := in.url.Query()
	href := in.href("cached", "observe")
	switch {
	case wants(query, "observe"):
		return &huma.StreamResponse{Body: func(ctx huma.Context) { h.observe(ctx, who, di, href) }}, nil
	case wants(query, "cached"):
		ev, err := h.cloud.State(ctx, who, di, href)
		if err != nil {
			return nil, h.resourceProblem(err)
		}
		return h.document(stateOf(ev)), nil
	}
	wait, err := duration("timeout", in.Timeout, usualWait, longestWait)
	if err != nil {
		return nil, err
	}
	to, err := h.cloud.Device(ctx, who, di)
	if err != nil {
		return nil, h.resourceProblem(err)
	}
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	resp, err := to.Handle(ctx, &oic.Request{Op: oic.Retrieve, Href: href, From: who, Accept: oic.OCF})
	if err != nil {
		return nil, h.resourceProblem(err)
	}
	return h.document(resourceOf(di, href, resp)), nil
}

// document is an answer that is one document.
func (h *Handler) document(doc Resource) *huma.StreamResponse {
	return &huma.StreamResponse{Body: func(ctx huma.Context) {
		b, err := json.Marshal(doc)
		if err != nil {
			h.refuse(ctx, err)
			return
		}
		ctx.SetHeader("Content-Type", "application/json")
		ctx.SetHeader("Age", fmt.Sprint(int(doc.Age)))
		_, _ = ctx.BodyWriter().Write(b) // the client's loss
	}}
}

// resourceOf is what a device said just now.
func resourceOf(di, href string, resp *oic.Response) Resource {
	code, _, _ := strings.Cut(resp.Status.String(), " ")
	r := Resource{Schema: "farreach.resource/v1", Device: di, Href: href, Time: time.Now().UTC(), Status: code, Location: resp.Location}
	r.Rep, r.Format, r.Raw = shown(resp.Format, resp.Body)
	return r
}

// stateOf is what a device reported last.
func stateOf(ev event.Event) Resource {
	r := Resource{
		Schema: "farreach.resource/v1", Device: ev.Device, Href: ev.Href, Time: ev.Time.UTC(), Seq: ev.Seq,
		Age: max(time.Since(ev.Time), 0).Round(time.Millisecond).Seconds(), Status: "2.05",
	}
	r.Rep, r.Format, r.Raw = shown(ev.Format, ev.Body)
	return r
}

// shown is a body as JSON, or else as it is, with its media type.
func shown(f oic.ContentFormat, b []byte) (rep json.RawMessage, format string, raw []byte) {
	rep, err := oic.ToJSON(f, b)
	switch {
	case err != nil:
		return json.RawMessage("null"), f.String(), b
	case len(rep) == 0:
		return json.RawMessage("null"), "", nil
	}
	return rep, "", nil
}

// changed is the answer to a command: a Resource, or a Command that waits.
type changed struct {
	Status   int
	Location string `header:"Location"`
	Body     any
}

func (h *Handler) setResource(ctx context.Context, op oic.Op, in *setResource) (*changed, error) {
	o := cloud.Order{Device: strings.ToLower(in.Device), Request: oic.Request{Op: op, Href: in.href("queue"), Accept: oic.OCF}}
	req := &o.Request
	if _, query := oic.SplitHref(req.Href); op == oic.Update && oic.QueryValue(query, "if") == oic.IfCreate {
		req.Op = oic.Create
	}
	wait, err := duration("timeout", in.Timeout, usualWait, longestWait)
	if err == nil {
		o.Queue, err = duration("queue", in.Queue, 0, command.MaxQueue)
	}
	if err == nil && op != oic.Delete {
		err = in.body(req)
	}
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	cmd, resp, err := h.cloud.Send(ctx, asker(ctx), o)
	if err != nil {
		return nil, h.commandProblem(err, cmd.ID)
	}
	if resp == nil {
		return &changed{http.StatusAccepted, "/api/v1/commands/" + cmd.ID, h.command(cmd, "")}, nil
	}
	doc := resourceOf(o.Device, req.Href, resp)
	doc.Command = cmd.ID
	out := &changed{Status: http.StatusOK, Body: doc}
	if resp.Status == oic.Created {
		out.Status = http.StatusCreated
		if resp.Location != "" {
			out.Location = "/api/v1/devices/" + o.Device + "/resources" + resp.Location
		}
	}
	return out, nil
}

// body gives req what the client sent: JSON becomes CBOR, and what is CBOR
// stays as it is.
func (in *setResource) body(req *oic.Request) error {
	_ = in.request.SetReadDeadline(time.Now().Add(bodyTime)) // not every connection has one
	body, err := io.ReadAll(io.LimitReader(in.request.BodyReader(), bodyBytes+1))
	switch contentType := in.request.Header("Content-Type"); {
	case err != nil:
		return newProblem(http.StatusBadRequest, "body: it did not come as a whole")
	case len(body) > bodyBytes:
		return newProblem(http.StatusRequestEntityTooLarge, fmt.Sprintf("body: more than %d bytes", bodyBytes))
	case len(body) == 0:
		return nil
	default:
		return takeBody(req, contentType, body)
	}
}

func takeBody(req *oic.Request, contentType string, body []byte) error {
	media, _, err := mime.ParseMediaType(contentType)
	if err != nil && contentType != "" {
		return newProblem(http.StatusUnsupportedMediaType, "Content-Type: "+err.Error())
	}
	req.Format = oic.OCF
	switch media {
	case "", "application/json", "application/x-www-form-urlencoded": // the last is what curl -d says
		if req.Body, err = oic.FromJSON(oic.OCF, body); err != nil {
			_, why := oic.StatusOf(err)
			return newProblem(http.StatusBadRequest, "body: "+why)
		}
		return nil
	case "application/cbor":
		req.Format = oic.CBOR
	case "application/vnd.ocf+cbor":
	default:
		return newProblem(http.StatusUnsupportedMediaType, "a body is application/json, or CBOR as devices speak it")
	}
	req.Body = body
	return nil
}

// observe follows a resource until the client or the server goes. A client that
// is slow is sent what the resource is when it is ready.
func (h *Handler) observe(hc huma.Context, who oic.Identity, di, href string) {
	h.followed(hc, who, func(ctx context.Context, _ func(), tell func(item) error) error {
		to, err := h.cloud.Device(ctx, who, di)
		if err != nil {
			return err
		}
		return to.Observe(ctx, &oic.Request{Href: href, From: who, Accept: oic.OCF}, func(resp *oic.Response) {
			_ = tell(item{doc: resourceOf(di, href, resp)}) // it ends with ctx
		})
	})
}

import { createServer, type IncomingMessage, request, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import type { Home } from "./home";

/** Writes one message of a live stream. */
export type Say = (type: string, doc: object, id?: number) => void;

/**
 * A server in front of the real one, which passes everything on but the live
 * stream: that it makes itself, so that a test can show what no simulated device
 * would say, or more of it than one machine has.
 *
 *   page ──▶ front ── all else ──▶ home
 *              └── /api/v1/live ◀── live(say)
 */
export class Front {
  private server: Server | undefined;
  url = "";

  /** live tells what there is; what it returns is called when the page goes. */
  constructor(
    private readonly home: Home,
    private readonly live: (say: Say) => (() => void) | void,
  ) {}

  async start() {
    this.server = createServer((req, res) => (req.url === "/api/v1/live" ? this.stream(res) : this.pass(req, res)));
    await new Promise<void>((done) => this.server!.listen(0, "127.0.0.1", done));
    this.url = `http://127.0.0.1:${(this.server.address() as AddressInfo).port}`;
  }

  stop() {
    this.server?.closeAllConnections();
    this.server?.close();
  }

  private pass(req: IncomingMessage, res: ServerResponse) {
    const to = request(this.home.url + req.url, { method: req.method!, headers: { ...req.headers, host: new URL(this.home.url).host, origin: "" } }, (answer) => {
      res.writeHead(answer.statusCode!, answer.headers);
      answer.pipe(res);
    });
    to.on("error", () => res.destroy());
    req.pipe(to);
  }

  private stream(res: ServerResponse) {
    res.writeHead(200, { "Content-Type": "text/event-stream" });
    let text = ""; // what is said at once is written at once
    const end = this.live((type, doc, id) => {
      if (!text) process.nextTick(() => (res.write(text), (text = "")));
      text += `${id === undefined ? "" : `id: ${id}\n`}event: ${type}\ndata: ${JSON.stringify(doc)}\n\n`;
    });
    if (end) res.on("close", end);
  }
}

/** A message of a stream of server-sent events (HTML standard, section 9.2). */
export interface Message {
  id: string;
  type: string;
  data: string;
}

/**
 * Cuts a stream of server-sent events into messages. Text may come in pieces of
 * any size; feed returns the messages that a piece completes. Comments, which
 * keep the connection alive, give no message.
 */
export class Parser {
  private rest = "";
  private id = "";
  private type = "";
  private data: string[] = [];

  feed(text: string): Message[] {
    const messages: Message[] = [];
    const lines = (this.rest + text).split("\n");
    this.rest = lines.pop() ?? "";
    for (const line of lines) {
      const message = this.line(line.endsWith("\r") ? line.slice(0, -1) : line);
      if (message) messages.push(message);
    }
    return messages;
  }

  private line(line: string): Message | undefined {
    if (line === "") return this.end();
    const colon = line.indexOf(":");
    if (colon === 0) return;
    const name = colon < 0 ? line : line.slice(0, colon);
    let value = colon < 0 ? "" : line.slice(colon + 1);
    if (value.startsWith(" ")) value = value.slice(1);
    if (name === "data") this.data.push(value);
    else if (name === "event") this.type = value;
    else if (name === "id" && !value.includes("\0")) this.id = value;
  }

  private end(): Message | undefined {
    const { id, type, data } = this;
    this.type = "";
    this.data = [];
    if (data.length === 0) return;
    return { id, type: type || "message", data: data.join("\n") };
  }
}

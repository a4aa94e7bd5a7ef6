/**
 * Where the person is, which the address always tells: #/devices/<di>?range=6h.
 * The server is asked for one page only, whatever stands behind the #.
 */
export interface Place {
  page: string; // "devices"
  rest: string; // "<di>"
  query: URLSearchParams;
}

export function parse(hash: string): Place {
  const text = hash.replace(/^#\/?/, "");
  const [path = "", query = ""] = text.split("?", 2);
  const [page = "", ...rest] = path.split("/").map((part) => {
    try {
      return decodeURIComponent(part);
    } catch {
      return part;
    }
  });
  return { page: page || "overview", rest: rest.join("/"), query: new URLSearchParams(query) };
}

class Route {
  place = $state.raw<Place>(parse(location.hash));

  constructor() {
    addEventListener("hashchange", () => (this.place = parse(location.hash)));
  }

  go(hash: string) {
    location.hash = hash;
  }

  /** Goes there instead of here: the way back leads to where the person was before. */
  instead(hash: string) {
    history.replaceState(null, "", hash);
    this.place = parse(hash);
  }

  /** Notes in the address what is selected, without another step in the history. */
  note(name: string, value: string) {
    this.notes({ [name]: value });
  }

  notes(values: Record<string, string>) {
    const query = new URLSearchParams(this.place.query);
    for (const [name, value] of Object.entries(values)) {
      if (value) query.set(name, value);
      else query.delete(name);
    }
    const path = location.hash.split("?", 1)[0] || "#/";
    const text = query.toString();
    history.replaceState(null, "", text ? `${path}?${text}` : path);
    this.place = parse(location.hash);
  }
}

export const route = new Route();

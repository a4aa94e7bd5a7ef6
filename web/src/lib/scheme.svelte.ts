/** Light or dark: as the system has it, or as the person chose on this browser. */
export type Scheme = "auto" | "light" | "dark";
const order: Scheme[] = ["auto", "light", "dark"];

function stored(): Scheme {
  const value = localStorage.getItem("scheme") as Scheme;
  return order.includes(value) ? value : "auto";
}

class SchemeChoice {
  value = $state<Scheme>(stored());

  constructor() {
    this.show();
  }

  next() {
    this.value = order[(order.indexOf(this.value) + 1) % order.length]!;
    localStorage.setItem("scheme", this.value);
    this.show();
  }

  private show() {
    document.documentElement.dataset.scheme = this.value;
  }
}

export const scheme = new SchemeChoice();

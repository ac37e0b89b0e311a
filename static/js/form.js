// A customer's form: built from what the service says of it, and judged before anything is sealed.
import { bindReveal } from "./beside.js";
import { $, element, size, word } from "./dom.js";
import { b64, writeAnswers } from "./envelope.js";
import { safeName } from "./names.js";

const CONTROL = /[\0-\x1f\x7f-\x9f]/;
const SURROGATE = /\p{Surrogate}/u;

// Build the form inside `place`; its complaints go beside the fields and, all of them, into #faults.  `whom` is a choice
// of the page's own that has to be made too.
export function ask(place, form, whom = null) {
  const inputs = new Map(whom ? [["organisation", whom]] : []);  // by the names that the service calls them
  const groups = new Map();
  const kind = form.inquiries.length ? labelled("inquiry", word("kind"), choice(form.inquiries)) : null;
  const always = (name) => (id) => form.inquiries.every((each) => each[name].includes(id));
  const chosen = () => form.inquiries.find(({ id }) => id === inputs.get("inquiry")?.value);
  const goes = (name) => (id) => chosen()?.[name].includes(id) ?? always(name)(id);

  // --- building

  function labelled(name, label, input, { help = "", optional = false } = {}) {
    input.id = `f-${name}`;
    const fault = element("p", { class: "fault", id: `${input.id}-fault` });
    const told = help && element("p", { class: "hint", id: `${input.id}-help` }, help);
    fault.hidden = true;
    input.setAttribute("aria-describedby", [told?.id, fault.id].filter(Boolean).join(" "));
    input.called = label;
    inputs.set(name, input);
    const isTick = input.type === "checkbox";
    const text = element("label", { for: input.id }, label);
    if (optional) text.append(" ", element("span", { class: "hint" }, word("optional")));
    if (isTick) return element("div", { class: "field" }, element("div", { class: "tick" }, input, text), fault);
    const beside = input.type === "password" ? joined(input) : input;
    return element("div", { class: "field" }, text, beside, told, fault);
  }

  function fieldset(title, ...parts) {
    return element("fieldset", {}, element("legend", {}, title), ...parts);
  }

  function field(group, { id, label, type, help, required, options }) {
    return labelled(id, label, FIELDS[type](options), { help, optional: !required && !group.one_of.includes(id) });
  }

  function built(group) {
    const names = group.fields.filter(({ id }) => group.one_of.includes(id)).map(({ label }) => label).join(", ");
    const notes = [group.help, names && word("any-of", { fields: names })].filter(Boolean);
    const found = fieldset(group.title, ...notes.map(hint), ...group.fields.map((each) => field(group, each)));
    groups.set(group.id, found);
    return found;
  }

  const tick = ({ id, text }) => labelled(`consents.${id}`, text, element("input", { type: "checkbox" }));
  const ticks = [true, false].map((required) => {
    const found = form.consents.filter((each) => each.required === required);
    return found.length ? fieldset(word(required ? "confirm" : "voluntary"), ...found.map(tick)) : "";
  });
  const costs = form.cost && fieldset(
    word("cost"),
    form.cost.package ? "" : labelled("package", word("package"), choice(form.cost.packages)),
    element("p", { class: "cost", role: "status" }),
    labelled("cost_accepted", word("cost-accepted"), element("input", { type: "checkbox" })),
  );
  const { product } = form;
  const isListed = product?.options.length;
  place.replaceChildren(...[
    product && labelled("product", product.label, isListed ? choice(product.options) : FIELDS.line(), product),
    kind, ...form.groups.map(built), ...ticks, costs,
  ].filter(Boolean));
  bindReveal(place);

  // --- what goes with the kind of inquiry

  function cost() {
    const wanted = form.cost?.package ?? inputs.get("package")?.value;
    return form.cost?.packages.find(({ id }) => id === wanted)?.costs[chosen()?.id];
  }

  function arrange() {
    for (const [id, group] of groups) group.hidden = !goes("ask")(id);
    for (const { id } of form.consents) inputs.get(`consents.${id}`).closest(".field").hidden = !goes("consents")(id);
    for (const set of ticks.filter(Boolean)) set.hidden = ![...set.querySelectorAll(".field")].some((each) => !each.hidden);
    if (!costs) return;
    costs.querySelector(".cost").textContent = cost()?.text ?? "";
    inputs.get("cost_accepted").closest(".field").hidden = !cost()?.charged;
  }

  place.addEventListener("change", arrange);
  place.addEventListener("input", ({ target }) => { if (target.hasAttribute("aria-invalid")) tell(target, ""); });
  arrange();

  // --- judging

  const isShown = (input) => !input.closest("[hidden]");

  function faultsOf() {
    const found = [];
    const check = (name, fault) => { if (fault) found.push([inputs.get(name), fault]); };
    if (whom) check("organisation", !whom.value && "missing-choice");
    if (product && !inputs.get("product").value.trim()) check("product", isListed ? "missing-choice" : "missing");
    else if (product) check("product", faultOf({ type: "line", max: product.max }, inputs.get("product")));
    if (kind && !chosen()) check("inquiry", "missing-choice");
    for (const group of form.groups.filter(({ id }) => goes("ask")(id))) {
      for (const each of group.fields) check(each.id, faultOf(each, inputs.get(each.id)));
      const isGiven = (id) => inputs.get(id).value.trim();
      if (group.one_of.length && !group.one_of.some(isGiven)) check(group.one_of[0], "one-of");
    }
    for (const { id, required } of form.consents) {
      const input = inputs.get(`consents.${id}`);
      check(`consents.${id}`, required && isShown(input) && !input.checked && "missing-tick");
    }
    if (inputs.has("package") && !inputs.get("package").value) check("package", "missing-choice");
    if (cost()?.charged && !inputs.get("cost_accepted").checked) check("cost_accepted", "missing-cost");
    return found.map(([input, fault]) => [input, Array.isArray(fault) ? word(...fault) : word(fault)]);
  }

  // Beside each, in one list, and the reader goes to the first.
  function complain(faults) {
    for (const input of inputs.values()) tell(input, "");
    for (const [input, text] of faults) tell(input, text);
    $("faults").hidden = !faults.length;
    $("faults").querySelector("ul").replaceChildren(...faults.map(([input, text]) => {
      const go = element("button", { type: "button", class: "plain" }, input.called ?? input.labels[0].textContent);
      go.addEventListener("click", () => input.focus());
      return element("li", {}, go, `: ${text}`);
    }));
    if (!faults.length) return;
    place.inert = false;  // what is held takes no focus
    faults[0][0].focus();
  }

  async function answers() {
    const found = [];
    for (const group of form.groups.filter(({ id }) => goes("ask")(id))) {
      for (const { id, type } of group.fields) {
        const input = inputs.get(id);
        if (!input.value.trim()) continue;
        if (type === "file") {
          const [file] = input.files;
          const content = new Uint8Array(await file.arrayBuffer());
          found.push([`${id}.name`, safeName(file.name)], [`${id}.base64`, b64(content)]);
        } else found.push([id, type === "line" || type === "choice" ? input.value.trim() : input.value]);
      }
    }
    return found;
  }

  function facts() {
    const consents = form.consents.map(({ id }) => id).filter((id) => {
      const input = inputs.get(`consents.${id}`);
      return input.checked && isShown(input);
    });
    const found = { consents };
    if (product) found.product = inputs.get("product").value.trim();
    if (kind) found.inquiry = inputs.get("inquiry").value;
    if (inputs.has("package")) found.package = inputs.get("package").value;
    if (cost()?.charged) found.cost_accepted = true;
    return found;
  }

  return {
    // While it is being sent, nothing is changed.
    hold(held) {
      place.inert = held;
    },
    isEmpty: () => [...inputs.values()].every((input) => (input.type === "checkbox" ? !input.checked : !input.value)),
    clear: () => place.replaceChildren(),
    // What is to be sealed and what stands beside it; null after complaints.
    async read() {
      const faults = faultsOf();
      complain(faults);
      if (faults.length) return null;
      try {
        const payload = writeAnswers(await answers());
        return { payload, facts: facts() };
      } catch (error) {
        const file = [...inputs.values()].find((input) => input.type === "file");
        if (!file) throw error;
        return complain([[file, word("unreadable")]]) ?? null;  // moved or changed since it was chosen
      }
    },
    // What the service complained of.
    refuse(errors) {
      complain(errors.map(({ field: name }) => inputs.get(name)).filter(Boolean).map((input) => [input, word("refused")]));
    },
  };
}

const hint = (text) => element("p", { class: "hint" }, text);

const FIELDS = {
  line: () => element("input", { autocomplete: "off" }),
  password: () => element("input", { type: "password", autocomplete: "off" }),
  text: () => element("textarea", { rows: "4" }),
  file: () => element("input", { type: "file" }),
  choice: (options) => choice(options),
};

function choice(options) {
  const named = options.map(({ id, label }) => element("option", { value: id }, label));
  return element("select", {}, element("option", { value: "" }, word("choose")), ...named);
}

function joined(input) {
  const attributes = { type: "button", class: "quiet", "data-reveal": input.id, "aria-pressed": "false", "aria-controls": input.id };
  return element("div", { class: "joined" }, input, element("button", attributes, word("show")));
}

// What is wrong with one field, as a name or with values to fill in.
function faultOf({ type, required, max }, input) {
  const value = type === "file" ? "" : input.value;
  const file = type === "file" ? input.files[0] : null;
  if (!file && !value.trim()) return required && (type === "choice" ? "missing-choice" : "missing");
  if (file && !file.size) return "empty-file";
  if (file) return file.size > max && ["file-too-large", { size: size(file.size), limit: size(max) }];
  if ([...value].length > max) return "too-long";
  if (SURROGATE.test(value)) return "bad-character";
  return type !== "text" && CONTROL.test(value) && "one-line";
}

function tell(input, text) {
  const fault = $(`${input.id}-fault`);
  fault.textContent = text;
  fault.hidden = !text;
  if (text) input.setAttribute("aria-invalid", "true");
  else input.removeAttribute("aria-invalid");
}

// An organisation's list: read-only; the filters are a form.
import { localise } from "../times.js";

localise(document);

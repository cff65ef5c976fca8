import type { components } from "./api.js";

type Schemas = components["schemas"];

export type Access = Schemas["Access"];
export type Product = Schemas["Product"];
export type Subscription = Schemas["Subscription"];
export type ChangesPage = Schemas["Changes"];

// What Grafana's own types say of a dashboard as JSON: the strings stand for the members of its enums.
import type { Dashboard, FieldConfigSource, Panel } from '@grafana/schema';
import type * as stat from '@grafana/schema/dist/esm/raw/composable/stat/panelcfg/x/StatPanelCfg_types.gen';
import type * as table from '@grafana/schema/dist/esm/raw/composable/table/panelcfg/x/TablePanelCfg_types.gen';
import type * as timeseries from '@grafana/schema/dist/esm/raw/composable/timeseries/panelcfg/x/TimeSeriesPanelCfg_types.gen';

type Plain<T> = T extends string ? `${T}` : T extends object ? { [K in keyof T]: Plain<T[K]> } : T;

export type Board = Plain<Dashboard>;

// The options of a kind of panel, and what it adds to the configuration of a field: nothing else may be there.
type Kind<Options, Custom> = {
  type: string;
  options: Plain<Partial<Options>>;
  fieldConfig: { defaults: { custom?: Plain<Partial<Custom>> } };
};

export type Kinds = {
  stat: Kind<stat.Options, {}>;
  table: Kind<table.Options, table.FieldConfig>;
  timeseries: Kind<timeseries.Options, timeseries.FieldConfig>;
};

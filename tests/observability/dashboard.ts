// SPDX-License-Identifier: Apache-2.0
// The form of a dashboard in Grafana's own types; the test puts the dashboard in the place of the object of the last line.
import type { AnnotationQuery, Dashboard, Panel, RowPanel } from '@grafana/schema';
import type { Options as HeatmapOptions } from '@grafana/schema/dist/esm/raw/composable/heatmap/panelcfg/x/HeatmapPanelCfg_types.gen';
import type { Options as StatOptions } from '@grafana/schema/dist/esm/raw/composable/stat/panelcfg/x/StatPanelCfg_types.gen';
import type { FieldConfig, Options as LinesOptions } from '@grafana/schema/dist/esm/raw/composable/timeseries/panelcfg/x/TimeSeriesPanelCfg_types.gen';

// In JSON the members of an enum are their values.
type Plain<T> = T extends string ? `${T}` : T extends object ? { [K in keyof T]: Plain<T[K]> } : T;
type Source = { type: 'prometheus'; uid: string };
type Query = {
  refId: string; datasource: Source; expr: string; legendFormat: string; range: true; exemplar: boolean; format: 'time_series' | 'heatmap';
};
type Field = Plain<NonNullable<Panel['fieldConfig']>>;
type Chart<Kind, Options, Custom = never> = Omit<Plain<Panel>, 'type' | 'options' | 'targets' | 'fieldConfig'> & {
  type: Kind;
  datasource: Source;
  gridPos: NonNullable<Panel['gridPos']>;
  options: Plain<Options>;
  targets: Query[];
  fieldConfig: { overrides: []; defaults: Omit<Field['defaults'], 'custom'> & { custom?: Plain<Custom> } };
};
type Ours = Omit<Plain<Dashboard>, 'panels' | 'annotations'> & {
  panels: (Plain<RowPanel> | Chart<'timeseries', LinesOptions, FieldConfig> | Chart<'stat', Partial<StatOptions>> |
    Chart<'heatmap', Partial<HeatmapOptions>>)[];
  annotations: { list: (Plain<AnnotationQuery> & { expr: string; titleFormat: string })[] };
};
export const dashboard: Ours = {};

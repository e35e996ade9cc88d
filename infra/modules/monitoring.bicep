// Logs, Application Insights without keys, the alerts and the workbook of conf/observability.
param token string
param location string
param tags object
param appPrincipalId string
param alertEmail string

var metricsPublisher = '3913510d-42f4-4e42-8a64-420c390055eb'
var alerts = loadJsonContent('../../conf/observability/azure-alerts.json')

resource workspace 'Microsoft.OperationalInsights/workspaces@2023-09-01' = {
  name: 'log-${token}'
  location: location
  tags: tags
  properties: {
    sku: { name: 'PerGB2018' }
    retentionInDays: 30
  }
}

resource insights 'Microsoft.Insights/components@2020-02-02' = {
  name: 'appi-${token}'
  location: location
  tags: tags
  kind: 'web'
  properties: {
    Application_Type: 'web'
    WorkspaceResourceId: workspace.id
    DisableLocalAuth: true
  }
}

resource publishes 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(insights.id, appPrincipalId, metricsPublisher)
  scope: insights
  properties: {
    principalId: appPrincipalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', metricsPublisher)
  }
}

resource people 'Microsoft.Insights/actionGroups@2023-01-01' = if (!empty(alertEmail)) {
  name: 'ag-${token}'
  location: 'global'
  tags: tags
  properties: {
    groupShortName: 'agentchat'
    enabled: true
    emailReceivers: [{ name: 'operator', emailAddress: alertEmail, useCommonAlertSchema: true }]
  }
}

resource rules 'Microsoft.Insights/scheduledQueryRules@2023-12-01' = [
  for alert in alerts: {
    name: '${alert.name}-${token}'
    location: location
    tags: tags
    properties: union(alert.properties, {
      scopes: [insights.id]
      // The tables have no columns of ours before the first turn.
      skipQueryValidation: true
      actions: { actionGroups: empty(alertEmail) ? [] : [people.id] }
    })
  }
]

resource workbook 'Microsoft.Insights/workbooks@2023-06-01' = {
  name: guid(insights.id, 'agentchat')
  location: location
  tags: tags
  kind: 'shared'
  properties: {
    displayName: 'AgentChat'
    category: 'workbook'
    sourceId: insights.id
    serializedData: string(loadJsonContent('../../conf/observability/azure-workbook.json'))
  }
}

output workspaceName string = workspace.name
output connectionString string = insights.properties.ConnectionString

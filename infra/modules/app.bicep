// The container app: httpd with mod_agentchat. All its settings are variables, which docs/container.md describes.
param name string
param environmentName string
param location string
param tags object
param image string
param identityId string
param identityClientId string
param registryServer string
param workspaceName string

@description('The subnet of the environment; empty: the platform has a network of its own.')
param subnetId string
param vaultUrl string
param minReplicas int
param maxReplicas int
param hasRedis bool

@allowed(['keys', 'openid'])
param signIn string

@description('Variables of the container: objects with name and value.')
param settings array

// The first image, of Microsoft, listens on another port and has no probes of ours: `azd up` provisions once more after
// it has deployed the image of the module.
var isFirstImage = contains(image, 'containerapps-helloworld')

// AgentChatDrain is 120 seconds, and the load balancer sends requests for some seconds more.
var drainSeconds = 120
var graceSeconds = drainSeconds + 30

resource workspace 'Microsoft.OperationalInsights/workspaces@2023-09-01' existing = {
  name: workspaceName
}

resource appEnvironment 'Microsoft.App/managedEnvironments@2025-01-01' = {
  name: environmentName
  location: location
  tags: tags
  properties: {
    appLogsConfiguration: { destination: 'azure-monitor' }
    workloadProfiles: [{ name: 'Consumption', workloadProfileType: 'Consumption' }]
    vnetConfiguration: empty(subnetId) ? null : { infrastructureSubnetId: subnetId, internal: false }
  }
}

// By this the logs need no key of the workspace.
resource logs 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = {
  name: 'logs'
  scope: appEnvironment
  properties: {
    workspaceId: workspace.id
    logs: [
      { category: 'ContainerAppConsoleLogs', enabled: true }
      { category: 'ContainerAppSystemLogs', enabled: true }
    ]
  }
}

resource app 'Microsoft.App/containerApps@2025-01-01' = {
  name: name
  location: location
  tags: union(tags, { 'azd-service-name': 'api' })
  identity: { type: 'UserAssigned', userAssignedIdentities: { '${identityId}': {} } }
  properties: {
    environmentId: appEnvironment.id
    workloadProfileName: 'Consumption'
    configuration: {
      activeRevisionsMode: 'Single'
      ingress: { external: true, targetPort: isFirstImage ? 80 : 8080, transport: 'http', allowInsecure: false }
      registries: [{ server: registryServer, identity: identityId }]
      secrets: concat(signIn == 'keys' ? [
        { name: 'agentchat-keys', keyVaultUrl: '${vaultUrl}secrets/agentchat-keys', identity: identityId }
      ] : [], hasRedis ? [
        { name: 'redis-password', keyVaultUrl: '${vaultUrl}secrets/redis-password', identity: identityId }
      ] : [])
    }
    template: {
      // From SIGTERM on replicas finish their streams.
      terminationGracePeriodSeconds: graceSeconds
      containers: [
        {
          name: 'api'
          image: image
          resources: { cpu: json('0.5'), memory: '1Gi' }
          env: concat(settings, [
            // Which identity: the app might get others.
            { name: 'AZURE_CLIENT_ID', value: identityClientId }
            // The directory for event logs is on the disk of the replica: there is no room in /dev/shm.
            { name: 'AGENTCHAT_EVENT_LOG', value: '/var/lib/agentchat/events' }
            { name: 'AGENTCHAT_DRAIN', value: '${drainSeconds}s' }
          ], signIn == 'keys' ? [
            { name: 'AGENTCHAT_KEYS', secretRef: 'agentchat-keys' }
          ] : [], hasRedis ? [
            { name: 'AGENTCHAT_REDIS_PASSWORD', secretRef: 'redis-password' }
          ] : [])
          probes: isFirstImage ? [] : [
            { type: 'Startup', httpGet: { path: '/health', port: 8080 }, periodSeconds: 2, failureThreshold: 10 }
            { type: 'Liveness', httpGet: { path: '/health', port: 8080 }, periodSeconds: 10, failureThreshold: 3 }
            // A model that fails must not take all replicas away: threads can still be read.
            {
              type: 'Readiness'
              httpGet: { path: '/ready?check=store', port: 8080 }
              periodSeconds: 5
              timeoutSeconds: 5
              failureThreshold: 3
            }
          ]
          volumeMounts: [{ volumeName: 'state', mountPath: '/var/lib/agentchat' }]
        }
      ]
      volumes: [{ name: 'state', storageType: 'EmptyDir' }]
      scale: {
        minReplicas: minReplicas
        maxReplicas: maxReplicas
        // Longer than a run may take, so that scaling to zero ends none that has begun.
        cooldownPeriod: 900
        // The platform counts requests of each second, not open streams.
        rules: [{ name: 'requests', http: { metadata: { concurrentRequests: '5' } } }]
      }
    }
  }
}

output name string = app.name
output uri string = 'https://${app.properties.configuration.ingress.fqdn}'

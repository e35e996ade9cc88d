// mod_agentchat on Azure Container Apps: `azd up` creates all of this, `azd down` removes it. docs/azure.md describes it.
targetScope = 'subscription'

@minLength(1)
@maxLength(40)
@description('The name of the environment: a part of all names and tags.')
param environmentName string

@description('The region of all resources but the model.')
param location string

@description('The user or service principal that runs azd; it may push images, and read and write conversations. Empty: nobody.')
param principalId string = ''

@allowed(['User', 'ServicePrincipal'])
param principalType string = 'User'

@description('Whether the container app exists already: azd knows. A new one begins with an image of Microsoft.')
param apiExists bool = false

@description('The region of the model; empty: that of all resources.')
param modelLocation string = ''
param modelName string = 'gpt-5-mini'
param modelVersion string = '2025-08-07'

@allowed(['GlobalStandard', 'DataZoneStandard', 'Standard'])
param modelSku string = 'GlobalStandard'

@description('Thousands of tokens a minute.')
@minValue(1)
param modelCapacity int = 50

@description('Who may use the API: clients with an API key, or users of an OpenID provider such as Entra ID.')
@allowed(['keys', 'openid'])
param signIn string = 'keys'

@description('The key file of `keys`: it has hashes of the keys only.')
@secure()
param keys string = ''

param openidIssuer string = ''
param openidJwks string = ''
param openidAudience string = ''
param openidScope string = 'Chat'

@description('Pages of this origin may call the API; empty: none of another site.')
param corsOrigin string = ''

@description('0: scale to zero. docs/azure.md says what that costs: open streams do not count as load.')
@minValue(0)
@maxValue(30)
param minReplicas int = 1

@minValue(1)
@maxValue(30)
param maxReplicas int = 3

@description('Limits and live streams are shared by all replicas through Azure Managed Redis.')
param useRedis bool = false

@description('Cosmos DB, models, secrets and files are reached by private endpoints only.')
param usePrivateEndpoints bool = false

@description('Alerts are sent to this address; empty: they are shown in the portal only.')
param alertEmail string = ''

var tags = { 'azd-env-name': environmentName }
var token = toLower(uniqueString(subscription().id, environmentName, location))

resource group 'Microsoft.Resources/resourceGroups@2024-03-01' = {
  name: 'rg-${environmentName}'
  location: location
  tags: tags
}

module identity 'modules/identity.bicep' = {
  name: 'identity'
  scope: group
  params: { name: 'id-${token}', location: location, tags: tags }
}

module network 'modules/network.bicep' = if (usePrivateEndpoints) {
  name: 'network'
  scope: group
  params: { name: 'vnet-${token}', location: location, tags: tags }
}

module monitoring 'modules/monitoring.bicep' = {
  name: 'monitoring'
  scope: group
  params: {
    token: token
    location: location
    tags: tags
    appPrincipalId: identity.outputs.principalId
    alertEmail: alertEmail
  }
}

module store 'modules/store.bicep' = {
  name: 'store'
  scope: group
  params: {
    name: 'cosmos-${token}'
    location: location
    tags: tags
    isPublic: !usePrivateEndpoints
    principalIds: empty(principalId) ? [identity.outputs.principalId] : [identity.outputs.principalId, principalId]
  }
}

module files 'modules/files.bicep' = {
  name: 'files'
  scope: group
  params: {
    name: 'st${token}'
    location: location
    tags: tags
    isPublic: !usePrivateEndpoints
    appPrincipalId: identity.outputs.principalId
  }
}

module model 'modules/model.bicep' = {
  name: 'model'
  scope: group
  params: {
    name: 'ai-${token}'
    location: empty(modelLocation) ? location : modelLocation
    tags: tags
    isPublic: !usePrivateEndpoints
    appPrincipalId: identity.outputs.principalId
    deployments: [
      { name: 'chat', model: modelName, version: modelVersion, sku: modelSku, capacity: modelCapacity }
    ]
  }
}

module vault 'modules/vault.bicep' = {
  name: 'vault'
  scope: group
  params: {
    name: 'kv-${token}'
    location: location
    tags: tags
    isPublic: !usePrivateEndpoints
    appPrincipalId: identity.outputs.principalId
    keys: keys
  }
}

module registry 'modules/registry.bicep' = {
  name: 'registry'
  scope: group
  params: {
    name: 'cr${token}'
    location: location
    tags: tags
    appPrincipalId: identity.outputs.principalId
    pushPrincipalId: principalId
    pushPrincipalType: principalType
  }
}

module redis 'modules/redis.bicep' = if (useRedis) {
  name: 'redis'
  scope: group
  params: {
    name: 'redis-${token}'
    location: location
    tags: tags
    isPublic: !usePrivateEndpoints
    vaultName: vault.outputs.name
  }
}

module endpoints 'modules/endpoints.bicep' = if (usePrivateEndpoints) {
  name: 'endpoints'
  scope: group
  params: {
    location: location
    tags: tags
    networkId: network.?outputs.networkId ?? ''
    subnetId: network.?outputs.endpointSubnetId ?? ''
    services: concat([
      { name: 'cosmos', id: store.outputs.id, group: 'Sql', zones: ['privatelink.documents.azure.com'] }
      { name: 'files', id: files.outputs.id, group: 'blob', zones: ['privatelink.blob.${environment().suffixes.storage}'] }
      { name: 'vault', id: vault.outputs.id, group: 'vault', zones: ['privatelink.vaultcore.azure.net'] }
      {
        name: 'model'
        id: model.outputs.id
        group: 'account'
        zones: [
          'privatelink.openai.azure.com'
          'privatelink.cognitiveservices.azure.com'
          'privatelink.services.ai.azure.com'
        ]
      }
    ], useRedis ? [
      { name: 'redis', id: redis.?outputs.id ?? '', group: 'redisEnterprise', zones: ['privatelink.redis.azure.net'] }
    ] : [])
  }
}

module current 'modules/current-image.bicep' = {
  name: 'current-image'
  scope: group
  params: { exists: apiExists, name: 'ca-${token}' }
}

module app 'modules/app.bicep' = {
  name: 'app'
  scope: group
  // The first start needs the roles, the private addresses and the secrets.
  dependsOn: [endpoints]
  params: {
    name: 'ca-${token}'
    environmentName: 'cae-${token}'
    location: location
    tags: tags
    image: current.outputs.image
    identityId: identity.outputs.id
    identityClientId: identity.outputs.clientId
    registryServer: registry.outputs.server
    workspaceName: monitoring.outputs.workspaceName
    subnetId: usePrivateEndpoints ? (network.?outputs.appSubnetId ?? '') : ''
    vaultUrl: vault.outputs.url
    minReplicas: minReplicas
    maxReplicas: maxReplicas
    hasRedis: useRedis
    signIn: signIn
    settings: concat([
      { name: 'AGENTCHAT_STORE', value: 'cosmos:${store.outputs.endpoint} database=${store.outputs.database} credential=identity:managed' }
      { name: 'AGENTCHAT_FILES', value: 'blob:${files.outputs.containerUrl} credential=identity:managed' }
      { name: 'AZURE_OPENAI_ENDPOINT', value: model.outputs.endpoint }
      { name: 'AZURE_OPENAI_DEPLOYMENT_NAME', value: 'chat' }
      { name: 'AGENTCHAT_SIGN_IN', value: signIn }
      { name: 'APPLICATIONINSIGHTS_CONNECTION_STRING', value: monitoring.outputs.connectionString }
      { name: 'AGENTCHAT_TELEMETRY_IDENTITY', value: 'on' }
    ], signIn == 'openid' ? [
      { name: 'OPENID_ISSUER', value: openidIssuer }
      { name: 'OPENID_JWKS', value: openidJwks }
      { name: 'OPENID_AUDIENCE', value: openidAudience }
      { name: 'OPENID_SCOPE', value: openidScope }
    ] : [], empty(corsOrigin) ? [] : [
      { name: 'AGENTCHAT_CORS_ORIGIN', value: corsOrigin }
    ], useRedis ? [
      { name: 'AGENTCHAT_SHARED', value: 'redis:${redis.?outputs.host ?? ''}:10000 tls=on password=env:AGENTCHAT_REDIS_PASSWORD' }
    ] : [])
  }
}

output AZURE_LOCATION string = location
output AZURE_RESOURCE_GROUP string = group.name
output AZURE_CONTAINER_REGISTRY_ENDPOINT string = registry.outputs.server
output AZURE_OPENAI_ENDPOINT string = model.outputs.endpoint
output AZURE_COSMOS_ENDPOINT string = store.outputs.endpoint
output AZURE_KEY_VAULT_NAME string = vault.outputs.name
output SERVICE_API_NAME string = app.outputs.name
output SERVICE_API_URI string = app.outputs.uri
output SERVICE_API_IDENTITY_PRINCIPAL_ID string = identity.outputs.principalId

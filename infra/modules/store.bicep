// Cosmos DB, serverless and without keys, with the containers that docs/cosmos.md describes. The data role allows no
// program to create containers, so they are created here.
param name string
param location string
param tags object
param isPublic bool

@description('The identities that read and write conversations.')
param principalIds array

var dataContributor = '00000000-0000-0000-0000-000000000002'

resource account 'Microsoft.DocumentDB/databaseAccounts@2024-11-15' = {
  name: name
  location: location
  tags: tags
  kind: 'GlobalDocumentDB'
  properties: {
    databaseAccountOfferType: 'Standard'
    capabilities: [{ name: 'EnableServerless' }, { name: 'EnableNoSQLFullTextSearch' }]
    consistencyPolicy: { defaultConsistencyLevel: 'Session' }
    locations: [{ locationName: location, failoverPriority: 0, isZoneRedundant: false }]
    disableLocalAuth: true
    minimalTlsVersion: 'Tls12'
    publicNetworkAccess: isPublic ? 'Enabled' : 'Disabled'
    backupPolicy: { type: 'Continuous', continuousModeProperties: { tier: 'Continuous7Days' } }
  }
}

resource database 'Microsoft.DocumentDB/databaseAccounts/sqlDatabases@2024-11-15' = {
  parent: account
  name: 'chat'
  properties: { resource: { id: 'chat' } }
}

resource messages 'Microsoft.DocumentDB/databaseAccounts/sqlDatabases/containers@2024-11-15' = {
  parent: database
  name: 'messages'
  properties: {
    resource: {
      id: 'messages'
      partitionKey: { kind: 'Hash', version: 2, paths: ['/thread_id'] }
      indexingPolicy: {
        indexingMode: 'consistent'
        automatic: true
        excludedPaths: [{ path: '/*' }]
        includedPaths: [
          { path: '/thread_id/?' }
          { path: '/type/?' }
          { path: '/seq/?' }
          { path: '/role/?' }
          { path: '/timestamp/?' }
          { path: '/deleted_at/?' }
          { path: '/lease_until/?' }
        ]
      }
    }
  }
}

resource threads 'Microsoft.DocumentDB/databaseAccounts/sqlDatabases/containers@2024-11-15' = {
  parent: database
  name: 'threads'
  properties: {
    resource: {
      id: 'threads'
      partitionKey: { kind: 'Hash', version: 2, paths: ['/owner'] }
      defaultTtl: -1
      uniqueKeyPolicy: { uniqueKeys: [{ paths: ['/key'] }] }
      indexingPolicy: {
        indexingMode: 'consistent'
        automatic: true
        excludedPaths: [{ path: '/*' }]
        includedPaths: [
          { path: '/owner/?' }
          { path: '/type/?' }
          { path: '/status/?' }
          { path: '/agent_id/?' }
          { path: '/changing/?' }
          { path: '/thread_id/?' }
          { path: '/pinned/?' }
          { path: '/labels/[]/?' }
          { path: '/copy/updated_at/?' }
        ]
        compositeIndexes: [
          [{ path: '/copy/updated_at', order: 'descending' }, { path: '/id', order: 'descending' }]
        ]
      }
    }
  }
}

@batchSize(1)
resource roles 'Microsoft.DocumentDB/databaseAccounts/sqlRoleAssignments@2024-11-15' = [
  for principalId in principalIds: {
    parent: account
    name: guid(account.id, principalId, dataContributor)
    properties: {
      principalId: principalId
      roleDefinitionId: '${account.id}/sqlRoleDefinitions/${dataContributor}'
      scope: account.id
    }
  }
]

output id string = account.id
output endpoint string = account.properties.documentEndpoint
output database string = database.name

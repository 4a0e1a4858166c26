"""The adapters that are built in, by name, and where their keys are looked for."""

from __future__ import annotations

#: Scheme of a store's address → module and class. Others come from the entry point group `undrift.stores`.
STORES = {
    "sqlite-vec": "undrift.adapters.stores.sqlite_vec:SqliteVecStore",
    "pgvector": "undrift.adapters.stores.pgvector:PgVectorStore",
    **dict.fromkeys(("qdrant", "qdrants"), "undrift.adapters.stores.qdrant:QdrantStore"),
    "qdrant-edge": "undrift.adapters.stores.qdrant:QdrantEdgeStore",
    "lancedb": "undrift.adapters.stores.lancedb:LanceDbStore",
    "chroma": "undrift.adapters.stores.chroma:ChromaStore",
    "elasticsearch": "undrift.adapters.stores.elastic:ElasticsearchStore",
    "opensearch": "undrift.adapters.stores.elastic:OpenSearchStore",
    "redis": "undrift.adapters.stores.redis:RedisStore",
    "milvus": "undrift.adapters.stores.milvus:MilvusStore",
    **dict.fromkeys(("mongodb", "mongodb+srv"), "undrift.adapters.stores.mongodb:MongoDbStore"),
    **dict.fromkeys(("weaviate", "weaviates"), "undrift.adapters.stores.weaviate:WeaviateStore"),
    "pinecone": "undrift.adapters.stores.pinecone:PineconeStore",
    "memory": "undrift.adapters.stores.memory:MemoryStore",
}
#: Providers and servers that are called over HTTP → where their key is looked for when the configuration does not say.
_PROVIDERS = {
    "openai": "OPENAI_API_KEY",
    "azure": "AZURE_OPENAI_API_KEY",
    "cohere": "CO_API_KEY",
    "gemini": "GEMINI_API_KEY",
    "vertex": "GOOGLE_ACCESS_TOKEN",
    "bedrock": "AWS_BEARER_TOKEN_BEDROCK",
    "voyage": "VOYAGE_API_KEY",
    "mistral": "MISTRAL_API_KEY",
    "jina": "JINA_API_KEY",
    "nvidia": "NVIDIA_API_KEY",
    "together": "TOGETHER_API_KEY",
    "fireworks": "FIREWORKS_API_KEY",
    "openrouter": "OPENROUTER_API_KEY",
    **dict.fromkeys(("vllm", "tei", "infinity", "lm_studio", "ollama"), ""),
}
#: Provider → module and class. Others come from the entry point group `undrift.embedders`.
EMBEDDERS = {
    "hashing": "undrift.adapters.embedders.hashing:HashingEmbedder",
    "wordllama": "undrift.adapters.embedders.wordllama:WordLlamaEmbedder",
    "sentence_transformers": "undrift.adapters.embedders.sentence_transformers:SentenceTransformersEmbedder",
    "onnx": "undrift.adapters.embedders.onnx:OnnxEmbedder",
    "callable": "undrift.adapters.embedders.callable:CallableEmbedder",
    "head": "undrift.adapters.embedders.head:HeadEmbedder",
    **dict.fromkeys(_PROVIDERS, "undrift.adapters.embedders.http:HttpEmbedder"),
}
#: Where the key of a provider, or of a store, is looked for when the configuration does not say.
KEYS = {
    **_PROVIDERS,
    "chroma": "CHROMA_TOKEN",
    "elasticsearch": "ELASTICSEARCH_API_KEY",
    "milvus": "MILVUS_TOKEN",
    **dict.fromkeys(("mongodb", "mongodb+srv"), "MONGODB_PASSWORD"),
    "opensearch": "OPENSEARCH_PASSWORD",
    **dict.fromkeys(("qdrant", "qdrants"), "QDRANT_API_KEY"),
    "pinecone": "PINECONE_API_KEY",
    "redis": "REDIS_PASSWORD",
    **dict.fromkeys(("weaviate", "weaviates"), "WEAVIATE_API_KEY"),
}

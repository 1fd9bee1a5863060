using System.Text.Json;

namespace Gemma4Edge.Service.Http;

/// <summary>Whether this node can answer prompts now, and what is missing if not.</summary>
/// <param name="ModelMapped">The model is mapped.</param>
/// <param name="SelfTest">It has answered a first token.</param>
/// <param name="Compute">The compute thread goes forward, or would if there were work.</param>
/// <param name="Broker">The broker is connected and every subscription is in.</param>
internal readonly record struct Readiness(bool ModelMapped, bool SelfTest, bool Compute, bool Broker)
{
    /// <summary>All of them.</summary>
    public bool IsReady => ModelMapped && SelfTest && Compute && Broker;

    /// <summary><c>{"ready":false,"model_mapped":true,"self_test":true,"compute":true,"broker":false}</c>.</summary>
    public void Write(Utf8JsonWriter json)
    {
        json.WriteBoolean("ready", IsReady);
        json.WriteBoolean("model_mapped", ModelMapped);
        json.WriteBoolean("self_test", SelfTest);
        json.WriteBoolean("compute", Compute);
        json.WriteBoolean("broker", Broker);
    }
}

using System.Text.Json.Serialization;

namespace Gemma4Edge.Tests.Model.Text;

[JsonSerializable(typeof(string))]
internal sealed partial class SerializerContext : JsonSerializerContext;

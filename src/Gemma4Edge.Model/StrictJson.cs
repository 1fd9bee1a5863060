using System.Text.Json;

namespace Gemma4Edge.Model;

/// <summary>JSON in which no object has a key twice.</summary>
/// <remarks>Not JsonDocumentOptions.AllowDuplicateProperties: what it does takes a seed from OpenSSL, and a static binary has no OpenSSL.</remarks>
internal static class StrictJson
{
    /// <summary>Parses one value.</summary>
    /// <exception cref="JsonException">It is no JSON, too deep, or an object has a key twice.</exception>
    /// <exception cref="InvalidOperationException">A key holds half a surrogate pair.</exception>
    public static JsonElement Parse(ReadOnlyMemory<byte> utf8, int maxDepth)
    {
        JsonElement root = JsonElement.Parse(utf8.Span, new JsonDocumentOptions { MaxDepth = maxDepth });
        RefuseDuplicates(root);
        return root;
    }

    private static void RefuseDuplicates(JsonElement element)
    {
        if (element.ValueKind == JsonValueKind.Array)
        {
            foreach (JsonElement item in element.EnumerateArray())
            {
                RefuseDuplicates(item);
            }
        }
        else if (element.ValueKind == JsonValueKind.Object)
        {
            var keys = new HashSet<string>(element.GetPropertyCount(), StringComparer.Ordinal);
            foreach (JsonProperty property in element.EnumerateObject())
            {
                if (!keys.Add(property.Name))
                {
                    throw new JsonException($"The key '{property.Name}' stands twice.");
                }

                RefuseDuplicates(property.Value);
            }
        }
    }
}

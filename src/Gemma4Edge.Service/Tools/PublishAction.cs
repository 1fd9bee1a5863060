using System.Text;
using System.Text.Json;
using Gemma4Edge.Model.Text;
using Gemma4Edge.Service.Mqtt;

namespace Gemma4Edge.Service.Tools;

/// <summary>Publishes one message: <c>{"topic", "payload", "map", "retain", "qos"}</c>, topic and payload filled with the call's arguments.</summary>
internal sealed class PublishAction : IToolAction
{
    private static readonly string[] s_keys = ["topic", "payload", "map", "retain", "qos"];
    private readonly ToolSchema _schema;
    private readonly TextTemplate[] _topic;
    private readonly PayloadTemplate _payload;
    private readonly Dictionary<string, IReadOnlyDictionary<string, JsonElement>> _map = [];
    private readonly bool _retain;
    private readonly bool _atLeastOnce;
    private readonly TopicFilter[] _allowed;

    private PublishAction(JsonAt json, ToolSchema schema, ToolsOptions options)
    {
        string? unknown = json.Object().EnumerateObject().Select(member => member.Name).FirstOrDefault(name => !s_keys.Contains(name));
        if (unknown is not null)
        {
            throw new FormatException($"{json.Path} has no key '{unknown}'; allowed are {string.Join(", ", s_keys)}.");
        }

        _schema = schema;
        _retain = json.Find("retain")?.Flag() ?? false;
        _atLeastOnce = json.Find("qos") is not { } qos || QosOf(qos) == 1;
        _allowed = [.. options.AllowTopics.Select(filter => new TopicFilter(filter))];
        _payload = new PayloadTemplate(json.Get("payload"));
        JsonAt topic = json.Get("topic");
        _topic = [.. topic.Name().Split('/').Select(level => new TextTemplate(level, topic.Path))];
        ReadMap(json.Find("map"));
        CheckArguments(topic.Path, _topic.SelectMany(level => level.Arguments), inText: true);
        CheckArguments($"{json.Path}.payload", _payload.Arguments, inText: _payload.IsText);
        CheckTopic(topic);
    }

    public static string Kind => "publish";

    public static IToolAction Read(JsonAt json, ToolSchema schema, ToolsOptions options) => new PublishAction(json, schema, options);

    /// <inheritdoc/>
    public ToolAct Prepare(JsonElement arguments)
    {
        var values = new ArgumentValues(arguments, _schema, _map);
        string[] levels = [.. _topic.Select(level => LevelOf(level, values))];
        string topic = string.Join('/', levels);
        if (ReplyTopic.Fault(topic) is { } fault)
        {
            throw new FormatException($"these arguments make a topic that {fault}.");
        }

        if (Forbidden(levels) is { } forbidden)
        {
            throw new FormatException($"{topic} is not allowed: {forbidden}.");
        }

        byte[] payload = _payload.Fill(values) ?? throw new FormatException($"nothing is asked for; expected at least one of {string.Join(", ", _payload.Arguments.Distinct())}.");
        var message = new OutboundMessage(topic, payload) { Retain = _retain, AtLeastOnce = _atLeastOnce };
        string shown = Encoding.UTF8.GetString(payload);
        return new ToolAct(
            $"publish {topic} {(_payload.IsText ? JsonEncodedText.Encode(shown).ToString() : shown)}{(_retain ? " retained" : "")}",
            (context, cancellation) => context.PublishAsync(message, cancellation));
    }

    private static int QosOf(JsonAt json) =>
        json.Value.ValueKind == JsonValueKind.Number && json.Value.TryGetInt32(out int qos) && qos is 0 or 1 ? qos : throw json.Expected("0 or 1");

    /// <summary>One level of the topic. An argument must not make two of it, or none.</summary>
    private static string LevelOf(TextTemplate template, ArgumentValues values)
    {
        foreach (string name in template.Arguments)
        {
            string value = values.Find(name) is { ValueKind: not JsonValueKind.Null } given ? ArgumentValues.TextOf(given) : "";
            if (value.Trim().Length == 0 || value.AsSpan().IndexOfAny('/', '+', '#') >= 0)
            {
                throw new FormatException($"arguments.{name}: expected a name without / + and #, found {(value.Length == 0 ? "nothing" : $"'{value}'")}.");
            }
        }

        return template.Fill(values)!;
    }

    /// <summary>Why a tool may not publish there, as far as the levels are known; null = it may.</summary>
    private string? Forbidden(string?[] levels) =>
        levels[0] == "gemma4edge" || levels[0]?.StartsWith('$') == true ? $"topics under {levels[0]} are not for tools"
        : !_allowed.Any(filter => filter.Fits(levels)) ? $"Tools:AllowTopics has {string.Join(", ", _allowed.Select(filter => filter.ToString()))}"
        : null;

    private void CheckTopic(JsonAt topic)
    {
        string?[] known = [.. _topic.Select(level => level.Arguments.Any() ? null : level.Fill(new ArgumentValues(default, _schema, _map)))];
        if (known.FirstOrDefault(level => level?.AsSpan().IndexOfAny('+', '#') >= 0) is not null || ReplyTopic.Fault(string.Concat(known)) is not null and not "has not 1 to 1024 bytes")
        {
            throw new FormatException($"{topic.Path}: '{topic.Text()}' is no topic to publish on; expected levels between slashes, without + and #.");
        }

        if (_allowed.Length > 0 && Forbidden(known) is { } forbidden) // with no filter at all no tool acts anyway
        {
            throw new FormatException($"{topic.Path}: '{topic.Text()}' is not allowed: {forbidden}.");
        }
    }

    private void CheckArguments(string path, IEnumerable<string> names, bool inText)
    {
        foreach (string name in names)
        {
            if (!_schema.Properties.TryGetValue(name, out ToolSchema? schema))
            {
                throw new FormatException($"{path}: the tool has no parameter '{name}'; it has {string.Join(", ", _schema.Properties.Keys)}.");
            }

            if (inText && !(_schema.IsAlwaysThere(name) && schema.IsScalar))
            {
                throw new FormatException($"{path}: '{name}' must be in every call to stand in a text; make it required or give it a default, and a type that is not object, array or null.");
            }
        }
    }

    private void ReadMap(JsonAt? json)
    {
        foreach (JsonProperty argument in json?.Object().EnumerateObject() ?? default)
        {
            string path = $"{json!.Value.Path}.{argument.Name}";
            if (!_schema.Properties.ContainsKey(argument.Name))
            {
                throw new FormatException($"{path}: the tool has no parameter '{argument.Name}'; it has {string.Join(", ", _schema.Properties.Keys)}.");
            }

            var words = new Dictionary<string, JsonElement>();
            foreach (JsonProperty word in new JsonAt(argument.Value, path).Object().EnumerateObject())
            {
                words[word.Name] = word.Value.ValueKind is JsonValueKind.Object or JsonValueKind.Array or JsonValueKind.Null
                    ? throw new JsonAt(word.Value, $"{path}.{word.Name}").Expected("a string, a number, true or false")
                    : word.Value.Clone();
            }

            _map[argument.Name] = words;
        }
    }
}

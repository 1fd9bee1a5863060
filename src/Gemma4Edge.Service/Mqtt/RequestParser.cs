using System.Diagnostics;
using System.IO.Hashing;
using System.Text;
using System.Text.Json;
using System.Text.RegularExpressions;
using System.Text.Unicode;
using Gemma4Edge.Model;
using Gemma4Edge.Model.Text;
using Gemma4Edge.Runtime;

namespace Gemma4Edge.Service.Mqtt;

/// <summary>Reads requests: JSON, or plain text that is the prompt. Every limit is checked here, before anything is queued.</summary>
/// <remarks>Never throws for what a payload holds: whatever is wrong is a <see cref="FailureCode.BadRequest"/> that names it. A payload field beats the MQTT 5 property.</remarks>
internal sealed partial class RequestParser(NodeTopics topics, ReplyTopic allowedReplies)
{
    /// <summary>Largest payload in bytes.</summary>
    public const int MaxPayloadBytes = 256 * 1024;

    /// <summary>Deepest nesting of JSON.</summary>
    public const int MaxDepth = 32;

    private const int MaxNameLength = 64;
    private const string Hint = "Send {\"prompt\":\"…\"} or {\"messages\":[…]}; the README lists every field.";

    /// <summary>Reads a message of the request topic.</summary>
    public ParsedRequest Parse(InboundMessage message, RequestDefaults defaults)
    {
        var parsed = new ParsedRequest(new ReplyAddress(topics.Response, message.CorrelationData));
        try
        {
            string? propertyFault = null;
            if (message.ResponseTopic is { } topic)
            {
                propertyFault = allowedReplies.Refusal(topic);
                parsed = propertyFault is null ? parsed with { Reply = parsed.Reply with { Topic = topic } } : parsed;
            }

            ThrowIfUnreadable(message.Payload.Span);
            ReadOnlyMemory<byte> payload = WithoutMark(message.Payload);
            string? correlationId = IdOf(message.CorrelationData);
            if (!IsJson(payload.Span))
            {
                ThrowIfNotAllowed("The response topic", propertyFault);
                string text = PlainText(payload.Span);
                return Finish(parsed, new Fields { Prompt = text }, correlationId, message, defaults);
            }

            using JsonDocument document = JsonDocument.Parse(payload, new JsonDocumentOptions { MaxDepth = MaxDepth });
            return JsonAt.Parse(document.RootElement, "request", json =>
            {
                JsonAt? given = json.Find("id");
                string? id = given is { } named ? (IsId(named) ? named.Text() : null) : correlationId;
                parsed = parsed with { Id = id };
                if (json.Find("reply_to") is { } replyTo)
                {
                    ThrowIfNotAllowed("request.reply_to", allowedReplies.Refusal(replyTo.Text()));
                    parsed = parsed with { Reply = parsed.Reply with { Topic = replyTo.Text() } };
                }
                else
                {
                    ThrowIfNotAllowed("The response topic", propertyFault);
                }

                _ = given is { } wrong && id is null ? CheckedId(wrong) : null; // not earlier: its sender is told where it listens
                return Finish(parsed, ReadFields(json, defaults), id, message, defaults);
            });
        }
        catch (JsonException e)
        {
            return parsed with { Failure = BadRequest($"The payload is not JSON of at most {MaxDepth} levels: {JsonFault.Of(e)}") };
        }
        catch (Exception e) when (e is FormatException or ArgumentException)
        {
            return parsed with { Failure = BadRequest(e.Message) };
        }
    }

    /// <summary>Reads a message of <c>prompt/set</c>: its text is the prompt, whatever it looks like.</summary>
    public ParsedRequest ParsePrompt(InboundMessage message, RequestDefaults defaults)
    {
        var parsed = new ParsedRequest(new ReplyAddress(topics.Answer, null));
        try
        {
            ThrowIfUnreadable(message.Payload.Span);
            return Finish(parsed, new Fields { Prompt = PlainText(WithoutMark(message.Payload).Span) }, id: null, message, defaults);
        }
        catch (FormatException e)
        {
            return parsed with { Failure = BadRequest(e.Message) };
        }
    }

    public static GenerationFailure BadRequest(string message) => new(FailureCode.BadRequest, message, Hint);

    public static bool IsId(string text) => Id().IsMatch(text);

    private static ParsedRequest Finish(ParsedRequest parsed, Fields fields, string? id, InboundMessage message, RequestDefaults defaults)
    {
        double deadlineSeconds = Math.Min(fields.DeadlineMs / 1000.0, defaults.DeadlineSeconds);
        if (message.ExpirySeconds > 0)
        {
            deadlineSeconds = Math.Min(deadlineSeconds, message.ExpirySeconds);
        }

        string named = id ?? Guid.NewGuid().ToString("N");
        return parsed with
        {
            Id = named,
            DuplicateKey = id is not null ? $"{parsed.Reply.Topic}\nid {id}"
                : message.CorrelationData is { } correlation ? $"{parsed.Reply.Topic}\ncorrelation {Convert.ToHexString(XxHash128.Hash(correlation))}"
                : null,
            Stream = fields.Stream,
            Request = new PromptRequest
            {
                Id = named,
                Session = fields.Session,
                Prompt = fields.Prompt,
                Messages = fields.Messages,
                System = fields.System,
                DefaultSystem = defaults.System,
                Tools = fields.Tools ?? defaults.Tools,
                IsPrefixShared = fields.Tools is null,
                Acting = fields.Tools is null && fields.Execute ? defaults.Acting : null,
                Sampling = fields.Sampling ?? defaults.Sampling,
                MaxTokens = fields.MaxTokens ?? defaults.MaxTokens,
                Think = fields.Think ?? defaults.Think,
                ReceivedTimestamp = message.ReceivedTimestamp,
                DeadlineTimestamp = message.ReceivedTimestamp + (long)(deadlineSeconds * Stopwatch.Frequency),
            },
        };
    }

    private static Fields ReadFields(JsonAt json, RequestDefaults defaults)
    {
        string? prompt = json.Find("prompt")?.Name();
        List<ChatMessage>? messages = json.Find("messages") is { } list ? ReadMessages(list) : null;
        if (prompt is null == messages is null)
        {
            throw new FormatException("request: expected exactly one of prompt and messages.");
        }

        bool bringsSystem = messages?[0].Role is ChatRole.System or ChatRole.Developer;
        string? system = json.Find("system")?.Text();
        if (bringsSystem && system is not null)
        {
            throw new FormatException("request.system: the messages begin with a system message already; give it once.");
        }

        if (json.Find("format") is { } format && !(format.Value.ValueKind == JsonValueKind.String && format.Text() == "text"))
        {
            throw new FormatException("request.format: expected \"text\"; answers held to JSON or a schema are not available.");
        }

        bool noTools = json.Find("tool_choice") is { } choice && ReadsNone(choice);
        List<ToolDefinition>? tools = json.Find("tools") is { } declared
            ? [.. declared.Items().Select(tool => ToolDefinition.Parse(tool.Value, tool.Path))]
            : null;
        bool stream = json.Find("stream")?.Flag() ?? false;
        bool sentences = json.Find("stream_mode") is { } mode && ReadsSentence(mode);
        return new Fields
        {
            Prompt = prompt,
            Messages = messages,
            System = system,
            BringsSystem = bringsSystem,
            Tools = noTools ? [] : tools,
            Session = json.Find("session") is { } session ? CheckedSession(session) : null,
            Stream = !stream ? StreamMode.None : sentences ? StreamMode.Sentence : StreamMode.Token,
            Sampling = ReadSampling(json, defaults.Sampling),
            MaxTokens = Whole(json.Find("max_tokens"), 1, int.MaxValue) is { } most ? (int)most : null,
            Think = json.Find("think")?.Flag(),
            Execute = json.Find("execute")?.Flag() ?? true,
            DeadlineMs = Whole(json.Find("deadline_ms"), 1, uint.MaxValue) ?? long.MaxValue,
        };
    }

    private static List<ChatMessage> ReadMessages(JsonAt list)
    {
        List<ChatMessage> messages = [.. list.Items().Select(item => ChatMessage.Parse(item.Value, item.Path))];
        if (messages.Count == 0)
        {
            throw list.Expected("at least one message");
        }

        int empty = messages.FindIndex(message => message.Role != ChatRole.Assistant && message.Text is null && message.Parts is null && message.Response is null && message.ToolResponses.Count == 0);
        if (empty >= 0)
        {
            throw new FormatException($"{list.Path}[{empty}].content is missing; expected text.");
        }

        int other = messages.FindIndex(message => message.Parts?.Any(part => part.Kind != ContentKind.Text) == true);
        return other < 0 ? messages : throw new FormatException($"{list.Path}[{other}].content: expected text; images, sound and video are not read.");
    }

    private static SamplingOptions ReadSampling(JsonAt json, SamplingOptions defaults)
    {
        SamplingOptions sampling = defaults with
        {
            Temperature = Number(json.Find("temperature")) ?? defaults.Temperature,
            TopK = Whole(json.Find("top_k"), 0, int.MaxValue) is { } k ? (int)k : defaults.TopK,
            TopP = Number(json.Find("top_p")) ?? defaults.TopP,
            MinP = Number(json.Find("min_p")) ?? defaults.MinP,
            Seed = json.Find("seed") is { } seed ? ReadSeed(seed) : defaults.Seed,
        };
        sampling.Check();
        return sampling;
    }

    private static ulong ReadSeed(JsonAt seed) =>
        seed.Value.ValueKind == JsonValueKind.Number && seed.Value.TryGetUInt64(out ulong value) ? value : throw seed.Expected("a whole number from 0");

    private static bool ReadsNone(JsonAt choice) => choice.Value.ValueKind == JsonValueKind.String && choice.Text() is "auto" or "none"
        ? choice.Text() == "none"
        : throw choice.Expected("\"auto\" or \"none\" (calls cannot be forced)");

    private static bool ReadsSentence(JsonAt mode) => mode.Text() is "token" or "sentence"
        ? mode.Text() == "sentence"
        : throw mode.Expected("\"token\" or \"sentence\"");

    /// <summary>The id of a request.</summary>
    public static string CheckedId(JsonAt id) => IsId(id) ? id.Text() : throw id.Expected("a string of 1 to 64 of A-Z a-z 0-9 _ . -");

    private static bool IsId(JsonAt id) => id.Value.ValueKind == JsonValueKind.String && IsId(id.Text());

    /// <summary>The name of a session.</summary>
    public static string CheckedSession(JsonAt session) =>
        session.Name() is { Length: <= MaxNameLength } name ? name : throw session.Expected($"a name of at most {MaxNameLength} characters");

    private static long? Whole(JsonAt? json, long min, long max) => json is not { } at ? null
        : at.Value.ValueKind == JsonValueKind.Number && at.Value.TryGetDouble(out double value) && value >= min && value <= max && value % 1 == 0 ? (long)value // 256.0 too, as templates write it
        : throw at.Expected($"a whole number from {min} to {max}");

    private static float? Number(JsonAt? json) => json is not { } at ? null
        : at.Value.ValueKind == JsonValueKind.Number && at.Value.TryGetSingle(out float value) && float.IsFinite(value) ? value
        : throw at.Expected("a number");

    private static void ThrowIfUnreadable(ReadOnlySpan<byte> payload)
    {
        if (payload.Length > MaxPayloadBytes)
        {
            throw new FormatException($"The payload has {payload.Length} bytes; at most {MaxPayloadBytes} are read.");
        }

        if (!Utf8.IsValid(payload))
        {
            throw new FormatException("The payload is not UTF-8.");
        }
    }

    private static void ThrowIfNotAllowed(string what, string? fault)
    {
        if (fault is not null)
        {
            throw new FormatException($"{what} cannot be used: it {fault}.");
        }
    }

    /// <summary>Whether a payload is meant as a request object. A list is not one, but whoever sends it did not mean a prompt either.</summary>
    private static bool IsJson(ReadOnlySpan<byte> payload) =>
        payload.TrimStart(" \t\r\n"u8) is [(byte)'{', ..] || (payload.TrimStart(" \t\r\n"u8) is [(byte)'[', ..] && IsWellFormed(payload));

    private static bool IsWellFormed(ReadOnlySpan<byte> payload)
    {
        try
        {
            var reader = new Utf8JsonReader(payload, new JsonReaderOptions { MaxDepth = MaxDepth });
            while (reader.Read())
            {
                // to its end
            }

            return true;
        }
        catch (JsonException)
        {
            return false;
        }
    }

    /// <summary>The payload without the byte order mark that some editors and scripts put in front of it.</summary>
    private static ReadOnlyMemory<byte> WithoutMark(ReadOnlyMemory<byte> payload) => payload.Span.StartsWith("\uFEFF"u8) ? payload["\uFEFF"u8.Length..] : payload;

    private static string PlainText(ReadOnlySpan<byte> payload) =>
        payload.Length > 0 ? Encoding.UTF8.GetString(payload) : throw new FormatException("The payload is empty; expected a prompt.");

    private static string? IdOf(byte[]? correlation) =>
        correlation is { Length: <= MaxNameLength } && Ascii.IsValid(correlation) && Encoding.ASCII.GetString(correlation) is { } text && IsId(text) ? text : null;

    [GeneratedRegex(@"\A[A-Za-z0-9_.-]{1,64}\z")]
    private static partial Regex Id();

    /// <summary>The fields of a request, null where it does not say.</summary>
    private sealed record Fields
    {
        public string? Prompt { get; init; }

        public List<ChatMessage>? Messages { get; init; }

        public string? System { get; init; }

        public bool BringsSystem { get; init; }

        public List<ToolDefinition>? Tools { get; init; }

        public string? Session { get; init; }

        public StreamMode Stream { get; init; }

        public SamplingOptions? Sampling { get; init; }

        public int? MaxTokens { get; init; }

        public bool? Think { get; init; }

        public bool Execute { get; init; } = true;

        public long DeadlineMs { get; init; } = long.MaxValue;
    }
}

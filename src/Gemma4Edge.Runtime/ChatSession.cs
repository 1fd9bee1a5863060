using System.Diagnostics;
using System.Runtime.InteropServices;
using System.Text;
using Gemma4Edge.Model;
using Gemma4Edge.Model.Text;

namespace Gemma4Edge.Runtime;

/// <summary>One conversation: its messages, its tokens and their keys and values.</summary>
/// <remarks>Every request renders the whole history and runs only the tokens that the cache does not hold yet. One thread, the engine's.</remarks>
public sealed class ChatSession
{
    private readonly InferenceEngine _engine;
    private readonly KvCache _cache;
    private readonly AnswerParser _parser;
    private readonly List<ChatMessage> _history = [];
    private readonly int[] _next = new int[1];
    private IReadOnlyList<ToolDefinition> _tools = [];
    private string? _system;

    internal ChatSession(InferenceEngine engine)
    {
        _engine = engine;
        _cache = engine.NewCache();
        _parser = new AnswerParser(engine.Tokenizer);
    }

    /// <summary>The messages so far, the system text not among them.</summary>
    public IReadOnlyList<ChatMessage> History => _history;

    /// <summary>Bytes that keys and values take now.</summary>
    public long KvBytes => _cache.Bytes;

    /// <summary>Forgets the conversation. Keys and values stay: a next conversation that begins alike reuses them.</summary>
    public void Clear()
    {
        _history.Clear();
        _system = null;
        _tools = [];
    }

    /// <summary>Answers one request: prefill of what is new, then token after token until the model stops.</summary>
    /// <param name="request">What is asked. The session keeps its messages, system text and tools.</param>
    /// <param name="sink">Hears everything but the end, which is the caller's to tell.</param>
    /// <param name="cancellation">Looked at between layers and between tokens.</param>
    /// <returns>The whole answer.</returns>
    /// <exception cref="OperationCanceledException">The history is as it was before.</exception>
    /// <exception cref="ContextOverflowException">The prompt leaves no room; the history is as it was before.</exception>
    /// <exception cref="FormatException">A message holds what this model cannot read: images, audio, video.</exception>
    public GenerationResult Generate(PromptRequest request, ITokenSink sink, CancellationToken cancellation)
    {
        ArgumentNullException.ThrowIfNull(request);
        ArgumentNullException.ThrowIfNull(sink);
        long started = Stopwatch.GetTimestamp();
        double queueMs = Stopwatch.GetElapsedTime(request.ReceivedTimestamp, started).TotalMilliseconds;
        List<ChatMessage> messages = [.. request.Messages ?? _history];
        if (request.Prompt is { } prompt)
        {
            messages.Add(new ChatMessage(ChatRole.User, prompt));
        }

        if (messages.Any(message => message.Parts?.Any(part => part.Kind != ContentKind.Text) == true))
        {
            throw new FormatException("A message has an image, audio or video part; only text is understood. Send text parts alone.");
        }

        string? system = request.System ?? (request.Messages is null ? _system : null);
        IReadOnlyList<ToolDefinition> tools = request.Tools ?? (request.Messages is null ? _tools : []);
        List<int> ids = Render(messages, system, tools, request.Think);
        if (ids.Count >= _engine.Context)
        {
            throw new ContextOverflowException(ids.Count, _engine.Context);
        }

        int cached = _cache.KeepCommonPrefix(CollectionsMarshal.AsSpan(ids));
        sink.OnStart(queueMs, ids.Count, cached);
        var answer = new Answer(sink);
        long firstToken = 0;
        int output = 0;
        var finish = FinishReason.Length;
        _engine.Sampler.Reset(request.Sampling);
        SpecialTokens special = _engine.Tokenizer.Special;
        _parser.Begin(insideThought: ids.LastIndexOf(special.ChannelStart) > ids.LastIndexOf(special.ChannelEnd));

        ReadOnlySpan<float> logits = Prefill(ids, sink, cancellation);
        while (true)
        {
            int id = _engine.Sampler.Next(logits);
            firstToken = output++ == 0 ? Stopwatch.GetTimestamp() : firstToken;
            if (_engine.Tokenizer.StopIds.Contains(id))
            {
                finish = FinishReason.Stop;
                break;
            }

            _parser.Push(id, answer);
            if (output == request.MaxTokens || _cache.Length == _cache.Capacity)
            {
                break;
            }

            _next[0] = id;
            logits = _engine.Transformer.Forward(_next, _cache, _engine.Sampler.Wants, cancellation);
        }

        _parser.Finish(answer);
        if (finish == FinishReason.Stop && answer.ToolCalls.Count > 0)
        {
            finish = FinishReason.ToolCalls;
        }

        _history.Clear();
        _history.AddRange(messages);
        _history.Add(new ChatMessage(ChatRole.Assistant, answer.Text) { ToolCalls = answer.ToolCalls });
        _system = system;
        _tools = tools;

        double ttft = Stopwatch.GetElapsedTime(started, firstToken).TotalSeconds;
        double decode = Stopwatch.GetElapsedTime(firstToken).TotalSeconds;
        var timings = new RequestTimings(
            queueMs,
            ttft * 1000,
            ttft > 0 ? (ids.Count - cached) / ttft : 0,
            output > 1 && decode > 0 ? (output - 1) / decode : 0,
            Stopwatch.GetElapsedTime(request.ReceivedTimestamp).TotalMilliseconds);
        return new GenerationResult(answer.Text, answer.ToolCalls, finish, new TokenUsage(ids.Count, cached, output), timings);
    }

    private List<int> Render(List<ChatMessage> messages, string? system, IReadOnlyList<ToolDefinition> tools, bool think)
    {
        IReadOnlyList<ChatMessage> withSystem = system is null ? messages : [new ChatMessage(ChatRole.System, system), .. messages];
        var conversation = new Conversation(withSystem) { Tools = tools, EnableThinking = think };
        return ChatTemplate.RenderIds(conversation, _engine.Form, _engine.Tokenizer);
    }

    /// <summary>Runs the tokens that the cache lacks, chunk by chunk; returns the logits of the last.</summary>
    private ReadOnlySpan<float> Prefill(List<int> ids, ITokenSink sink, CancellationToken cancellation)
    {
        ReadOnlySpan<int> rest = CollectionsMarshal.AsSpan(ids)[_cache.Length..];
        int total = rest.Length;
        _engine.Model.PrefetchPerLayerRows(rest); // the disk works while the first chunk does
        while (true)
        {
            int count = Math.Min(rest.Length, _engine.Transformer.MaxChunk);
            bool last = count == rest.Length;
            ReadOnlySpan<float> logits = _engine.Transformer.Forward(rest[..count], _cache, last ? _engine.Sampler.Wants : LogitRows.None, cancellation);
            rest = rest[count..];
            sink.OnPrefill(total - rest.Length, total);
            if (last)
            {
                return logits;
            }
        }
    }

    /// <summary>Collects the answer on its way to the sink.</summary>
    private sealed class Answer(ITokenSink sink) : IAnswerSink
    {
        private readonly StringBuilder _text = new();

        public string Text => _text.ToString();

        public List<ToolCall> ToolCalls { get; } = [];

        public void OnText(string delta)
        {
            _text.Append(delta);
            sink.OnText(delta);
        }

        public void OnThought(string delta) => sink.OnThought(delta);

        public void OnToolCall(ToolCall toolCall)
        {
            ToolCalls.Add(toolCall);
            sink.OnToolCall(toolCall);
        }

        public void OnMalformedToolCall(string raw) => OnText(raw);
    }
}

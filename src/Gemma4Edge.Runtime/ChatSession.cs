using System.Diagnostics;
using System.Runtime.InteropServices;
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

    /// <summary>Computes the system text and tools that a request and others like it will begin with, and keeps them, unless they are kept already.</summary>
    /// <exception cref="OperationCanceledException">Cancelled; what is done is used by the next request.</exception>
    internal void Prepare(PromptRequest request, CancellationToken cancellation)
    {
        (List<int> ids, int systemTurn) = Render([new ChatMessage(ChatRole.User, "")], request.DefaultSystem, request.Tools ?? [], request.Think);
        ReadOnlySpan<int> prefix = CollectionsMarshal.AsSpan(ids)[..systemTurn];
        if (_engine.Prefixes is not { } prefixes || prefix.Length is 0 || prefix.Length >= _engine.Context || !prefixes.Lacks(prefix))
        {
            return;
        }

        _cache.TryTruncate(0);
        _engine.Model.PrefetchPerLayerRows(prefix);
        while (_cache.Length < prefix.Length)
        {
            ReadOnlySpan<int> chunk = prefix[_cache.Length..Math.Min(prefix.Length, _cache.Length + _engine.Transformer.MaxChunk)];
            _engine.Transformer.Forward(chunk, _cache, LogitRows.None, cancellation);
        }

        prefixes.Take(_cache);
    }

    /// <summary>Answers one request: prefill of what is new, then token after token until the model stops. Calls of tools that act are run, and the model goes on with their results.</summary>
    /// <param name="request">What is asked. The session keeps its messages, system text and tools.</param>
    /// <param name="sink">Hears everything but the end, which is the caller's to tell.</param>
    /// <param name="cancellation">Looked at between layers and between tokens.</param>
    /// <returns>The whole answer.</returns>
    /// <exception cref="OperationCanceledException">It was cancelled. After this and the next two the history is as it was before; where a tool has acted, it goes on to what came of that turn's calls.</exception>
    /// <exception cref="RequestFailedException">The tools cannot go on.</exception>
    /// <exception cref="ContextOverflowException">The prompt leaves no room.</exception>
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

        bool hasMessage = messages is [{ Role: ChatRole.System or ChatRole.Developer }, ..];
        if (hasMessage && request.System is not null)
        {
            messages.RemoveAt(0);
        }

        string? own = request.System ?? (request.Messages is null ? _system : null);
        string? system = own ?? (hasMessage ? null : request.DefaultSystem);
        bool isShared = request.IsPrefixShared && own is null && !hasMessage; // what a sender brought, now or earlier, is not written to disk
        IReadOnlyList<ToolDefinition> tools = request.Tools ?? (request.Messages is null ? _tools : []);
        var rounds = new ToolRounds(request, sink, cancellation);
        var sums = new RoundSums(request, started, queueMs);
        List<ToolCall> toolCalls = [];
        string text = "";
        _engine.Sampler.Reset(request.Sampling);
        while (true)
        {
            var answer = new RoundAnswer(sink, text);
            (List<int> ids, int systemTurn) = Render(messages, system, tools, request.Think);
            FinishReason finish = Round(ids, isShared ? systemTurn : 0, request, sums, answer, sink, cancellation);
            text = answer.FullText;
            toolCalls.AddRange(answer.ToolCalls);
            if (finish == FinishReason.ToolCalls && rounds.Takes(answer.ToolCalls))
            {
                try
                {
                    rounds.Run(answer, messages);
                }
                finally
                {
                    if (rounds.HasActed)
                    {
                        Keep(messages, own, tools);
                    }
                }

                if (sums.Output < request.MaxTokens)
                {
                    continue;
                }

                (answer, finish) = (new RoundAnswer(sink, text), FinishReason.Length);
            }

            messages.Add(new ChatMessage(ChatRole.Assistant, answer.Text) { ToolCalls = answer.ToolCalls });
            Keep(messages, own, tools);
            return new GenerationResult(text, toolCalls, finish, sums.Usage, sums.Timings) { ToolResults = rounds.Results };
        }
    }

    private void Keep(List<ChatMessage> messages, string? ownSystem, IReadOnlyList<ToolDefinition> tools)
    {
        _history.Clear();
        _history.AddRange(messages);
        _system = ownSystem;
        _tools = tools;
    }

    /// <summary>One prompt and what the model says to it.</summary>
    private FinishReason Round(List<int> ids, int prefix, PromptRequest request, RoundSums sums, RoundAnswer answer, ITokenSink sink, CancellationToken cancellation)
    {
        if (ids.Count >= _engine.Context)
        {
            throw new ContextOverflowException(ids.Count, _engine.Context);
        }

        long began = Stopwatch.GetTimestamp();
        _cache.KeepCommonPrefix(CollectionsMarshal.AsSpan(ids));
        _engine.Prefixes?.Load(_cache, CollectionsMarshal.AsSpan(ids));
        int cached = _cache.Length;
        if (sums.Output == 0)
        {
            sink.OnStart(sums.QueueMs, ids.Count, cached);
        }

        long firstToken = 0;
        int output = 0;
        var finish = FinishReason.Length;
        SpecialTokens special = _engine.Tokenizer.Special;
        _parser.Begin(insideThought: ids.LastIndexOf(special.ChannelStart) > ids.LastIndexOf(special.ChannelEnd));

        ReadOnlySpan<float> logits = Prefill(ids, prefix, sink, cancellation);
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
            if (sums.Output + output >= request.MaxTokens || _cache.Length == _cache.Capacity)
            {
                break;
            }

            _next[0] = id;
            logits = _engine.Transformer.Forward(_next, _cache, _engine.Sampler.Wants, cancellation);
        }

        _parser.Finish(answer);
        sums.Add(began, firstToken, ids.Count, cached, output);
        return finish == FinishReason.Stop && answer.ToolCalls.Count > 0 ? FinishReason.ToolCalls : finish;
    }

    /// <summary>The prompt, and how many of its first tokens end with the system turn (text and tools); 0 = it has none.</summary>
    private (List<int> Ids, int SystemTurn) Render(List<ChatMessage> messages, string? system, IReadOnlyList<ToolDefinition> tools, bool think)
    {
        List<ChatMessage> withSystem = system is null ? messages : [new ChatMessage(ChatRole.System, system), .. messages];
        var conversation = new Conversation(withSystem) { Tools = tools, EnableThinking = think };
        List<int> ids = ChatTemplate.RenderIds(conversation, _engine.Form, _engine.Tokenizer);
        int turn = _engine.Tokenizer.Special.TurnStart; // in a prompt's ids it comes from the template alone
        bool hasSystemTurn = tools.Count > 0 || think || withSystem[0].Role is ChatRole.System or ChatRole.Developer;
        return (ids, hasSystemTurn ? ids.IndexOf(turn, ids.IndexOf(turn) + 1) : 0);
    }

    /// <summary>Runs the tokens that the cache lacks, chunk by chunk; returns the logits of the last.</summary>
    /// <param name="ids">The prompt.</param>
    /// <param name="prefix">How many of its first tokens are to be kept, if they are not yet: a chunk ends there.</param>
    /// <param name="sink">Hears how far it is.</param>
    /// <param name="cancellation">Looked at between layers.</param>
    private ReadOnlySpan<float> Prefill(List<int> ids, int prefix, ITokenSink sink, CancellationToken cancellation)
    {
        ReadOnlySpan<int> prompt = CollectionsMarshal.AsSpan(ids), rest = prompt[_cache.Length..];
        bool keeps = prefix > _cache.Length && _engine.Prefixes?.Lacks(prompt[..prefix]) == true;
        int total = rest.Length;
        _engine.Model.PrefetchPerLayerRows(rest); // the disk works while the first chunk does
        while (true)
        {
            int count = Math.Min(rest.Length, _engine.Transformer.MaxChunk);
            count = keeps && _cache.Length < prefix ? Math.Min(count, prefix - _cache.Length) : count;
            bool last = count == rest.Length;
            ReadOnlySpan<float> logits = _engine.Transformer.Forward(rest[..count], _cache, last ? _engine.Sampler.Wants : LogitRows.None, cancellation);
            rest = rest[count..];
            sink.OnPrefill(total - rest.Length, total);
            if (last)
            {
                return logits;
            }

            if (keeps && _cache.Length == prefix)
            {
                _engine.Prefixes!.Take(_cache);
            }
        }
    }
}

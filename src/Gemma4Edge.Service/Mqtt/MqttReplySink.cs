using System.Diagnostics;
using System.Text;
using Gemma4Edge.Model.Text;
using Gemma4Edge.Runtime;
using Gemma4Edge.Service.Durability;

namespace Gemma4Edge.Service.Mqtt;

/// <summary>Turns what one request produces into events, and tells the node how it ended.</summary>
/// <remarks>
/// On the compute thread: it only adds to the outbox. An event that is refused there (broker away, line long) gets no number, so what arrives is numbered without gaps;
/// its text stays and goes with the next. The final is always added and holds the whole text.
/// </remarks>
internal sealed class MqttReplySink(ParsedRequest parsed, LedgerEntry entry, RequestLedger ledger, NodeTopics topics, Outbox outbox, NodeState state) : ITokenSink
{
    private static readonly TimeSpan s_joined = TimeSpan.FromMilliseconds(100);
    private static readonly TimeSpan s_progress = TimeSpan.FromMilliseconds(250);
    private readonly string _id = parsed.Request!.Id;
    private readonly StringBuilder _text = new();
    private int _seq;
    private long _lastDelta;
    private long _lastProgress;

    private IReadOnlyList<ToolDefinition>? Tools => parsed.Request!.Tools;

    private bool IsStream => parsed.Stream != StreamMode.None;

    private bool IsAnswer => parsed.Reply.Topic == topics.Answer;

    /// <summary>Its sender tries elsewhere when the node stops.</summary>
    public bool IsPool { get; init; }

    /// <summary>It was let in before the last restart.</summary>
    public bool IsRestarted { get; init; }

    /// <inheritdoc/>
    public void OnTaken() => ledger.Start(entry);

    /// <inheritdoc/>
    public void OnStart(double queueMs, int promptTokens, int cachedTokens) => SendPassing("start", json =>
    {
        json.WriteNumber("queue_ms", Math.Round(queueMs, 1));
        json.WriteNumber("prompt_tokens", promptTokens);
        json.WriteNumber("cached_tokens", cachedTokens);
        if (IsRestarted)
        {
            json.WriteBoolean("restarted", true);
        }
    });

    /// <inheritdoc/>
    public void OnPrefill(int done, int total)
    {
        if (done == total || Stopwatch.GetElapsedTime(_lastProgress) >= s_progress)
        {
            _lastProgress = Stopwatch.GetTimestamp();
            SendPassing("prefill", json =>
            {
                json.WriteNumber("done", done);
                json.WriteNumber("total", total);
            });
        }
    }

    /// <inheritdoc/>
    public void OnText(string delta)
    {
        if (!IsStream)
        {
            return;
        }

        _text.Append(delta);
        if (parsed.Stream == StreamMode.Sentence)
        {
            Flush(SentencesLength());
        }
        else if (Stopwatch.GetElapsedTime(_lastDelta) >= s_joined)
        {
            Flush(_text.Length);
        }
    }

    /// <inheritdoc/>
    public void OnThought(string delta)
    {
        // thoughts are not part of the answer
    }

    /// <inheritdoc/>
    public void OnToolCall(ToolCall toolCall)
    {
        Flush(_text.Length);
        SendPassing("tool_call", json => Payloads.WriteToolCall(json, toolCall, Tools));
        SendNodeEvent("tool_called", json => Payloads.WriteToolCall(json, toolCall, Tools));
    }

    /// <inheritdoc/>
    public void OnActing(ToolCall toolCall)
    {
        try
        {
            ledger.Act(entry);
        }
        catch (IOException)
        {
            throw new RequestFailedException(Failures.NoSpace);
        }
    }

    /// <inheritdoc/>
    public void OnToolResult(ToolCall toolCall, ToolResult result) => SendPassing("tool_result", json =>
    {
        json.WriteString("name", toolCall.Name);
        Payloads.WriteToolResult(json, result);
    });

    /// <inheritdoc/>
    public void OnDone(GenerationResult result)
    {
        Flush(_text.Length);
        End(result, IsAnswer ? Payloads.Answer(_id, result, Tools, DateTimeOffset.UtcNow) : Payloads.Done(_id, _seq, result, Tools));
        SendNodeEvent("completed", json => json.WriteString("finish_reason", Payloads.WireName(result.FinishReason)));
    }

    /// <inheritdoc/>
    public void OnFailed(GenerationFailure failure)
    {
        if (failure.Code == FailureCode.Interrupted && ledger.IsDurable && !IsPool && !entry.Acted)
        {
            ledger.Pause(entry); // it is answered after the restart
            state.RequestEnded(_id, null);
            return;
        }

        failure = entry.Acted ? failure.AfterActing() : failure;
        Flush(_text.Length);
        End(null, IsAnswer ? Payloads.AnswerError(_id, failure, DateTimeOffset.UtcNow) : Payloads.Error(_id, _seq, failure));
        string type = failure.Code switch
        {
            FailureCode.Cancelled => "cancelled",
            FailureCode.Expired => "expired",
            _ => "failed",
        };
        SendNodeEvent(type, json => json.WriteString("code", Payloads.WireName(failure.Code)));
    }

    private void End(GenerationResult? result, byte[] final)
    {
        var reply = new StoredReply(parsed.Reply.Topic, parsed.Reply.Correlation, IsAnswer, final);
        ledger.Finish(entry, reply);
        outbox.Add(OutboundMessage.Of(reply, entry.Acted) with { AwaitsReader = IsRestarted, Answered = () => ledger.Answer(entry) });
        state.RequestEnded(_id, result);
    }

    /// <summary>Sends the first characters of the text that waits.</summary>
    private void Flush(int length)
    {
        if (length == 0)
        {
            return;
        }

        string delta = _text.ToString(0, length);
        if (SendPassing("delta", json => json.WriteString("text", delta)))
        {
            _text.Remove(0, length);
            _lastDelta = Stopwatch.GetTimestamp();
        }
    }

    /// <summary>Length of the whole sentences that wait: up to the white space after the last full stop, question mark, exclamation mark, or line end.</summary>
    private int SentencesLength()
    {
        for (int i = _text.Length - 1; i > 0; i--)
        {
            if (char.IsWhiteSpace(_text[i]) && (_text[i] == '\n' || _text[i - 1] is '.' or '!' or '?' or '…'))
            {
                return i + 1;
            }
        }

        return 0;
    }

    private bool SendPassing(string type, Action<System.Text.Json.Utf8JsonWriter> members)
    {
        bool sent = IsStream && outbox.TryAddPassing(
            new OutboundMessage(parsed.Reply.Topic, Payloads.Event(_id, _seq, type, members)) { Correlation = parsed.Reply.Correlation });
        _seq += sent ? 1 : 0;
        return sent;
    }

    private void SendNodeEvent(string type, Action<System.Text.Json.Utf8JsonWriter> members) => outbox.TryAddPassing(new OutboundMessage(topics.Event, Payloads.Object(json =>
    {
        json.WriteString("event_type", type);
        json.WriteString("id", _id);
        members(json);
    })));
}

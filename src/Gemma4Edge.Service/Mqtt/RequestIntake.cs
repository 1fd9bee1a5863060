using System.Diagnostics;
using System.Text;
using Gemma4Edge.Runtime;
using Gemma4Edge.Service.Durability;
using Microsoft.Extensions.Logging;

namespace Gemma4Edge.Service.Mqtt;

/// <summary>Lets requests in: read, known or new, noted, queued; or refused. Every one of them gets one final event.</summary>
/// <remarks>One caller at a time; see <see cref="MqttBridge.Receive"/>.</remarks>
internal sealed partial class RequestIntake(
    ServedModel served, NodeTopics topics, RequestParser parser, RequestLedger ledger, Outbox outbox, NodeState state, ILogger log)
{
    private static readonly TimeSpan s_patience = TimeSpan.FromSeconds(1);
    private static readonly TimeSpan s_moment = TimeSpan.FromMilliseconds(20);
    private bool _isStopping;

    /// <summary>Takes a request that arrived.</summary>
    /// <returns>Ends when a refusal has been told: nothing else remembers it. What was let in is in the ledger.</returns>
    public Task Accept(InboundMessage message)
    {
        ParsedRequest parsed = Parse(message);
        if (parsed.Failure is { } failure)
        {
            return Refuse(parsed, failure);
        }

        if (message.Topic == topics.PromptSet)
        {
            outbox.TryAddPassing(new OutboundMessage(topics.Prompt, Encoding.UTF8.GetBytes(parsed.Request!.Prompt!)) { Retain = true });
        }

        // without an id and correlation data only the packet's number tells a repeated delivery, and only where the broker says that it may be one
        string key = parsed.DuplicateKey ?? $"{parsed.Reply.Topic}\n{message.Sender}\npacket {message.PacketId}";
        bool canRepeat = parsed.DuplicateKey is not null || message.Dup;
        LedgerEntry? known = null;
        switch (canRepeat ? ledger.Look(key, message.Payload.Span, out known) : Delivery.New)
        {
            case Delivery.Running:
                LogDuplicate(parsed.Id!);
                return Task.CompletedTask;
            case Delivery.Finished when !known!.Answered && parsed.Reply.Correlation.AsSpan().SequenceEqual(known.Final!.Correlation):
                LogDuplicate(parsed.Id!);
                return Task.CompletedTask; // that final is still on its way
            case Delivery.Finished:
                LogDuplicate(parsed.Id!);
                return Tell(OutboundMessage.Of(known!.Final!, known.Acted) with { Correlation = parsed.Reply.Correlation });
            case Delivery.Conflict when parsed.DuplicateKey is not null:
                return Refuse(parsed, RequestParser.BadRequest($"request.id: '{parsed.Id}' named another request within the last 10 minutes."));
            default: // new, or another message under a number that was used before
                return Enqueue(parsed, key, message);
        }
    }

    /// <summary>After a restart: publishes the finals that the broker may not have, and answers what was let in before, or ends it.</summary>
    public void Resume()
    {
        foreach (LedgerEntry entry in ledger.Open())
        {
            if (entry.Final is { } final)
            {
                outbox.Add(OutboundMessage.Of(final, entry.Acted) with { AwaitsReader = true, Answered = () => ledger.Answer(entry) });
            }
            else
            {
                Resume(entry);
            }
        }
    }

    /// <summary>From now on nothing is started: what arrives is kept for the next start where that is possible, else interrupted.</summary>
    public void Stop()
    {
        _isStopping = true;
        served.Queue.EndWaiting(Failures.Interrupted);
    }

    /// <summary>Answers a request, or a command, that is not let in.</summary>
    /// <returns>Ends when the broker has the answer, or has taken too long: whoever sent the request is not told before that it arrived, so that a
    /// refusal cannot get lost between the two. The limit keeps a broker that waits for the node from waiting for ever.</returns>
    public Task Refuse(ParsedRequest parsed, GenerationFailure failure, double? retryAfterMs = null)
    {
        served.Metrics.RequestFailed(failure, parsed.Request?.ReceivedTimestamp);
        Task told = Tell(new OutboundMessage(parsed.Reply.Topic, ErrorOf(parsed, failure, retryAfterMs)) { Correlation = parsed.Reply.Correlation, Retain = IsAnswer(parsed) });
        outbox.TryAddPassing(new OutboundMessage(topics.Event, Payloads.Object(json =>
        {
            json.WriteString("event_type", "failed");
            json.WriteString("id", parsed.Id);
            json.WriteString("code", Payloads.WireName(failure.Code));
        })));
        return told;
    }

    private async Task Tell(OutboundMessage message)
    {
        for (long start = Stopwatch.GetTimestamp(); !outbox.HasRoom; await Task.Delay(s_moment).ConfigureAwait(false))
        {
            if (Stopwatch.GetElapsedTime(start) > s_patience)
            {
                LogNoRoom(message.Topic); // somebody sends faster than the broker takes the answers, and without waiting for his own
                return;
            }
        }

        var answered = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        outbox.Add(message with { Answered = answered.SetResult });
        await Task.WhenAny(answered.Task, Task.Delay(s_patience)).ConfigureAwait(false);
    }

    private ParsedRequest Parse(InboundMessage message) =>
        message.Topic == topics.PromptSet ? parser.ParsePrompt(message, state.Defaults) : parser.Parse(message, state.Defaults);

    private Task Enqueue(ParsedRequest parsed, string key, InboundMessage message)
    {
        bool isKept = ledger.IsDurable && !message.Pool;
        GenerationFailure? refusal = _isStopping && !isKept && !message.Pool ? Failures.Interrupted
            : !state.Enabled ? Failures.Disabled
            : served.Refusal() is { } unfit ? unfit
            : served.Queue.IsFull || (message.Pool && (_isStopping || !state.IsFree)) ? Failures.QueueFull(served.Queue.Capacity)
            : null;
        if (refusal is not null)
        {
            return Refuse(parsed, refusal, refusal.Code == FailureCode.QueueFull ? 1000 * served.Metrics.Reader.Recent(MetricTable.RequestDuration)?.P50 : null);
        }

        LedgerEntry entry;
        try
        {
            entry = ledger.Receive(key, parsed.Id!, message);
        }
        catch (IOException full)
        {
            LogNoSpace(full.Message);
            return Refuse(parsed, Failures.NoSpace);
        }

        if (!_isStopping)
        {
            Queue(parsed, entry, message.Pool, isRestarted: false);
        }

        return Task.CompletedTask;
    }

    private void Resume(LedgerEntry entry)
    {
        InboundMessage message = entry.Message!;
        bool sameBoot = entry.Boot == ledger.Boot && entry.Boot != Guid.Empty;
        ParsedRequest parsed = Parse(sameBoot ? message : message with { ReceivedTimestamp = Stopwatch.GetTimestamp() });
        parsed = parsed with { Id = entry.Id, Request = parsed.Request is { } request ? request with { Id = entry.Id } : null };
        GenerationFailure? end = entry.Cancelled ? Failures.Cancelled
            : entry.Acted || message.Pool ? Failures.Interrupted
            : entry.Starts >= 2 ? Failures.KilledTheProcess
            : parsed.Failure is not null ? parsed.Failure
            : !sameBoot || parsed.Request!.DeadlineTimestamp < Stopwatch.GetTimestamp() ? Failures.Expired // clocks step back across a boot: every request has a deadline
            : null;
        LogResumed(entry.Id, end is null ? "is answered" : $"ends as {Payloads.WireName(end.Code)}");
        if (end is null)
        {
            Queue(parsed, entry, message.Pool, isRestarted: true);
            return;
        }

        end = entry.Acted ? end.AfterActing() : end;
        served.Metrics.RequestFailed(end, parsed.Request?.ReceivedTimestamp);
        var final = new StoredReply(parsed.Reply.Topic, parsed.Reply.Correlation, IsAnswer(parsed), ErrorOf(parsed, end, null));
        ledger.Finish(entry, final);
        outbox.Add(OutboundMessage.Of(final, entry.Acted) with { AwaitsReader = true, Answered = () => ledger.Answer(entry) });
    }

    private void Queue(ParsedRequest parsed, LedgerEntry entry, bool isPool, bool isRestarted)
    {
        state.RequestAccepted();
        served.Queue.Add(new QueuedRequest(parsed.Request!, new MqttReplySink(parsed, entry, ledger, topics, outbox, state) { IsPool = isPool, IsRestarted = isRestarted }));
    }

    private byte[] ErrorOf(ParsedRequest parsed, GenerationFailure failure, double? retryAfterMs) =>
        IsAnswer(parsed) ? Payloads.AnswerError(parsed.Id, failure, DateTimeOffset.UtcNow) : Payloads.Error(parsed.Id, 0, failure, retryAfterMs);

    private bool IsAnswer(ParsedRequest parsed) => parsed.Reply.Topic == topics.Answer;

    [LoggerMessage(EventId = 21, Level = LogLevel.Warning, Message = "An answer to {topic} is dropped: too many replies wait for the broker")]
    private partial void LogNoRoom(string topic);

    [LoggerMessage(EventId = 22, Level = LogLevel.Information, Message = "Request {id} was delivered again and is not run twice")]
    private partial void LogDuplicate(string id);

    [LoggerMessage(EventId = 23, Level = LogLevel.Error, Message = "A request was refused: it cannot be kept ({problem})")]
    private partial void LogNoSpace(string problem);

    [LoggerMessage(EventId = 24, Level = LogLevel.Information, Message = "Request {id} of before the restart {outcome}")]
    private partial void LogResumed(string id, string outcome);
}

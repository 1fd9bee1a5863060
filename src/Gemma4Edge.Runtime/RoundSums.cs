using System.Diagnostics;

namespace Gemma4Edge.Runtime;

/// <summary>Tokens and seconds of a request's rounds, added up.</summary>
internal sealed class RoundSums(PromptRequest request, long started, double queueMs)
{
    private int _input;
    private int _cached;
    private int _decoded;
    private double _prefillSeconds;
    private double _decodeSeconds;
    private double? _ttftMs;

    /// <summary>From receipt to the start of work.</summary>
    public double QueueMs => queueMs;

    /// <summary>Tokens sampled so far.</summary>
    public int Output { get; private set; }

    /// <summary>Adds one round.</summary>
    /// <param name="began">When its prompt was begun, a Stopwatch timestamp.</param>
    /// <param name="firstToken">When its first token was there.</param>
    /// <param name="input">Tokens of its prompt.</param>
    /// <param name="cached">Of these, tokens that needed no prefill.</param>
    /// <param name="output">Tokens sampled.</param>
    public void Add(long began, long firstToken, int input, int cached, int output)
    {
        _ttftMs ??= Stopwatch.GetElapsedTime(started, firstToken).TotalMilliseconds;
        _input += input;
        _cached += cached;
        Output += output;
        _decoded += output - 1;
        _prefillSeconds += Stopwatch.GetElapsedTime(began, firstToken).TotalSeconds;
        _decodeSeconds += Stopwatch.GetElapsedTime(firstToken).TotalSeconds;
    }

    public TokenUsage Usage => new(_input, _cached, Output);

    public RequestTimings Timings => new(
        queueMs,
        _ttftMs ?? 0,
        _prefillSeconds > 0 ? (_input - _cached) / _prefillSeconds : 0,
        _decoded > 0 && _decodeSeconds > 0 ? _decoded / _decodeSeconds : 0,
        Stopwatch.GetElapsedTime(request.ReceivedTimestamp).TotalMilliseconds);
}

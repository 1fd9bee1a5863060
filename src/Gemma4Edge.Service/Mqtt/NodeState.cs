using System.Threading.Channels;
using Gemma4Edge.Model;
using Gemma4Edge.Model.Text;
using Gemma4Edge.Runtime;
using Gemma4Edge.Service.Telemetry;

namespace Gemma4Edge.Service.Mqtt;

/// <summary>What the <c>state</c> topic tells: switches that may be turned while the service runs, and the last answer.</summary>
/// <remarks>Thread-safe.</remarks>
internal sealed class NodeState(ServiceOptions options, SamplingOptions modelSampling, IReadOnlyList<ToolDefinition> tools, NodeInfo info)
{
    /// <summary>What the device's firmware holds back; null = it does not tell.</summary>
    public Func<Throttling?> Throttled { get; init; } = () => null;

    private readonly Lock _lock = new();
    private readonly Channel<bool> _changed = Channel.CreateBounded<bool>(new BoundedChannelOptions(1) { FullMode = BoundedChannelFullMode.DropWrite });
    private bool _enabled = true;
    private int _unfinished;
    private (string Id, GenerationResult Result)? _last;
    private RequestDefaults _defaults = new(
        options.Sampling.Over(modelSampling), options.Sampling.MaxTokens, options.Sampling.Thinking, options.Model.System, tools, options.Queue.DefaultDeadlineSeconds);

    /// <summary>Whether requests are accepted.</summary>
    public bool Enabled
    {
        get
        {
            lock (_lock)
            {
                return _enabled;
            }
        }
    }

    /// <summary>Whether a job of a pool would be started at once.</summary>
    public bool IsFree
    {
        get
        {
            lock (_lock)
            {
                return _enabled && _unfinished == 0;
            }
        }
    }

    /// <summary>Something changed. On the thread that changed it: handlers must not wait.</summary>
    public event Action? Changed;

    /// <summary>What a request gets that does not say otherwise.</summary>
    public RequestDefaults Defaults
    {
        get
        {
            lock (_lock)
            {
                return _defaults;
            }
        }
    }

    /// <summary>Ends when something changed since the last call.</summary>
    public ValueTask<bool> WaitForChangeAsync(CancellationToken cancellation) => _changed.Reader.ReadAsync(cancellation);

    /// <summary>The state is worth publishing again.</summary>
    public void Touch()
    {
        _changed.Writer.TryWrite(true);
        Changed?.Invoke();
    }

    public void SetEnabled(bool value) => Update(() => _enabled = value);

    public void SetDefaults(Func<RequestDefaults, RequestDefaults> change) => Update(() => _defaults = change(_defaults));

    /// <summary>Takes over what another configuration says otherwise; what was set over MQTT stays where the configuration did not change.</summary>
    public void Reload(ServiceOptions from, ServiceOptions to) => SetDefaults(now => now with
    {
        Sampling = from.Sampling.Over(modelSampling) == to.Sampling.Over(modelSampling) ? now.Sampling : to.Sampling.Over(modelSampling),
        MaxTokens = from.Sampling.MaxTokens == to.Sampling.MaxTokens ? now.MaxTokens : to.Sampling.MaxTokens,
        Think = from.Sampling.Thinking == to.Sampling.Thinking ? now.Think : to.Sampling.Thinking,
        System = to.Model.System,
        DeadlineSeconds = to.Queue.DefaultDeadlineSeconds,
    });

    public void RequestAccepted() => Update(() => _unfinished++);

    /// <summary>An accepted request has ended; <paramref name="result"/> is null where it has no answer.</summary>
    public void RequestEnded(string id, GenerationResult? result) => Update(() =>
    {
        _unfinished--;
        _last = result is null ? _last : (id, result);
    });

    /// <summary>The payload of the <c>state</c> topic.</summary>
    public byte[] ToPayload()
    {
        lock (_lock)
        {
            int waiting = Math.Max(_unfinished - 1, 0); // not the queue's count: of one that has just come it does not know yet whether it must wait
            return Payloads.State(_unfinished > 0, waiting, _enabled, _defaults, info.Model, _last, Throttled());
        }
    }

    private void Update(Action change)
    {
        lock (_lock)
        {
            change();
        }

        Touch();
    }
}
